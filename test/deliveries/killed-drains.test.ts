import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { type AnyOperation, CairnClient, type TxOperation } from "@cairn/client";
import { drainShard, type QueueAccess } from "@cairn/client/protocol";
import { commitSeed } from "@cairn/kv/testing";
import { startNode } from "@cairn/node";
import { expect, it, onTestFinished } from "vitest";
import { seededRandom } from "@cairn/test-support/seeded-random";
import { soakRounds, soakTimeout } from "@cairn/test-support/soak-rounds";

const ROUNDS = soakRounds(15);
const FIRST_SEED = Number(process.env["CAIRN_SOAK_SEED"] ?? 1);
/** The seed that runs with every commit. */
const SAMPLE = commitSeed();
const CAP = 12;
const QUEUE = "jobs";
/** Other drainers take over at once, because a lease ends with the next transaction but one. */
const NO_LEASE = 1;

type Access = Pick<QueueAccess, "transact" | "queue" | "openEntries">;

/** The end of a process. Its code is one that is never tried again. */
class Killed extends Error {
  readonly code = "NOT_FOUND";
  readonly details = {};
}

/** Returns an access whose process is killed at one of its requests: before it is sent, or before its answer arrives. */
function killedAt(access: Access, request: number, isSent: boolean): Access {
  let requests = 0;
  const killed = async <T>(send: () => Promise<T>): Promise<T> => {
    requests += 1;
    if (requests > request || (requests === request && !isSent)) throw new Killed();
    const answer = await send();
    if (requests === request) throw new Killed();
    return answer;
  };
  return {
    transact: (transaction, signal) => killed(() => access.transact(transaction, signal)),
    queue: (name, signal) => killed(() => access.queue(name, signal)),
    openEntries: (query, signal) => killed(() => access.openEntries(query, signal)),
  };
}

/** A queue on one node. */
class Scene {
  readonly client: CairnClient;

  constructor(url: string) {
    this.client = new CairnClient({ urls: url });
  }

  get access(): Access {
    return {
      transact: (transaction) => this.client.transact<AnyOperation>(transaction),
      queue: (name) => this.client.queue(name),
      openEntries: ({ queue, shard, ...query }) => this.client.openEntries(queue, shard, query),
    };
  }

  async configure(lease: string | number): Promise<void> {
    const policy = { shards: 6, cap: CAP, terminal: { state: ["done"] }, lease };
    await this.transact(["configure", { queues: { [QUEUE]: policy } }]);
  }

  async transact(...ops: readonly TxOperation[]): Promise<void> {
    const { committed, reason } = await this.client.transact({ ops });
    if (!committed) throw new Error(reason);
  }

  async enqueue(prefix: string, count: number, state: string): Promise<string[]> {
    const names = Array.from({ length: count }, (_, at) => `${prefix}-${at}`);
    if (count > 0) await this.transact(...names.map((name) => ["enqueue", QUEUE, name, { state }] as const));
    return names;
  }

  /** Returns the shard and the state of every entry. Throws if an entry is in two shards. */
  async entries(): Promise<Map<string, { shard: number; state: string }>> {
    const found = new Map<string, { shard: number; state: string }>();
    for await (const { name, namespace, document } of this.client.list<{ state: string }>(QUEUE)) {
      if (found.has(name)) throw new Error(`${name} is in two shards`);
      found.set(name, { shard: Number(namespace), state: document.state });
    }
    return found;
  }

  /** Finishes every entry, and drains every shard until all are spare. */
  async clear(): Promise<void> {
    await this.configure("PT1M");
    const director = this.client.direct(QUEUE, { handle: () => undefined, drainAt: false });
    while ((await this.client.queue(QUEUE)).open > 0) await delay(5);
    await director.stop();
    for (const { shard, state } of (await this.client.queue(QUEUE)).shards) {
      if (state === "retiring") continue;
      const drain = {
        queue: QUEUE,
        shard,
        as: "cleaner",
        leaseMs: 60_000,
        signal: AbortSignal.timeout(10_000),
      };
      const { retired } = await drainShard(this.access, drain);
      if (!retired) throw new Error(`shard ${shard} was not retired`);
    }
    while ((await this.client.queue(QUEUE)).shards.length > 0) await this.transact(["put", "other", "a", 1]);
  }
}

/** Starts a node, and kills drainers of its queue with `seeds` seeds. Returns how many were killed. */
async function killDrainers(first: number, seeds: number): Promise<number> {
  const folder = await mkdtemp(path.join(tmpdir(), "cairn-drains-"));
  const node = await startNode({
    "cairn/node": { id: "n", dir: folder },
    "cairn/http-server": { port: 0 },
  });
  onTestFinished(async () => {
    await node.close();
    await rm(folder, { recursive: true, force: true });
  });
  await node.ready;
  const scene = new Scene(node.url ?? "");
  let killed = 0;
  for (let seed = first; seed < first + seeds; seed += 1) {
    const random = seededRandom(seed);
    await scene.configure(NO_LEASE);
    const open = await scene.enqueue(`open-${seed}`, 1 + Math.floor(random() * CAP), "new");
    await scene.enqueue(`done-${seed}`, Math.floor(random() * CAP), "done");
    for (let drains = 0; drains < 4; drains += 1) {
      const { shards } = await scene.client.queue(QUEUE);
      const active = shards.filter(({ state }) => state !== "retiring");
      const { shard = 0 } = active[Math.floor(random() * active.length)] ?? {};
      const dying = killedAt(scene.access, 1 + Math.floor(random() * 12), random() < 0.5);
      const signal = AbortSignal.timeout(1_000);
      try {
        await drainShard(dying, {
          queue: QUEUE,
          shard,
          as: `drainer ${drains}`,
          leaseMs: NO_LEASE,
          signal,
        });
      } catch (error) {
        if (!(error instanceof Killed)) throw error;
        killed += 1;
      }
      const found = await scene.entries();
      for (const name of open) expect([name, found.get(name)?.state]).toEqual([name, "new"]);
      const status = await scene.client.queue(QUEUE);
      const used = new Set(status.shards.map((one) => one.shard));
      for (const entry of found.values()) expect(used).toContain(entry.shard);
      expect(status.open).toBe(open.length);
    }
    await scene.clear();
    expect(await scene.entries()).toEqual(new Map());
  }
  return killed;
}

const PROMISE = "no open entry is lost and no shard is spare too early, wherever a drainer is killed";

it(`${PROMISE} (seed ${SAMPLE})`, async () => {
  await killDrainers(SAMPLE, 1);
});

it(
  `${PROMISE} (${ROUNDS} seeds)`,
  { tags: "rest/campaign", timeout: soakTimeout(ROUNDS, 2_000) },
  async () => {
    const killed = await killDrainers(FIRST_SEED, ROUNDS);
    process.stdout.write(`${ROUNDS} seeds from ${FIRST_SEED}: ${killed} drainers killed\n`);
    expect(killed).toBeGreaterThan(ROUNDS);
  },
);
