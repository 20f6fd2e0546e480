// @module-tag rest/campaign
// @module-tag nats
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { CairnClient, CairnClientError, type Json } from "@cairn/client";
import { commitSeed } from "@cairn/kv/testing";
import { startNatsServer } from "@cairn/log-nats/testing";
import { expect, it, onTestFinished } from "vitest";
import { NodeProcess } from "@cairn/test-support/cairn-process";
import { seededPicks, seededRandom } from "@cairn/test-support/seeded-random";
import { Deliverer } from "./deliverer.ts";
import { readLedger } from "./read-ledger.ts";
import { BadReceiver } from "./receiver.ts";

const SEED = Number(process.env["CAIRN_SOAK_SEED"] ?? "1");
const MINUTES = Number(process.env["CAIRN_SOAK_MINUTES"] ?? "0");

/** What a run delivers, and how. */
interface Run {
  readonly seed: number;
  /** The time over which the deliveries are enqueued, and directors are killed and frozen (ms). */
  readonly durationMs: number;
  readonly count: number;
  /** The maximum pause between two faults (ms). */
  readonly faultPauseMs: number;
  readonly nodes: number;
  readonly leaseMs: number;
}

/** The run with every commit. */
const SAMPLE: Run = {
  seed: commitSeed(),
  durationMs: 1_000,
  count: 60,
  faultPauseMs: 100,
  nodes: 1,
  leaseMs: 1_000,
};
const CAMPAIGN: Run = {
  seed: SEED,
  durationMs: MINUTES * 60_000 || 8_000,
  count: MINUTES * 10_000 || 500,
  faultPauseMs: MINUTES === 0 ? 1_000 : 4_000,
  nodes: 3,
  leaseMs: 2_000,
};
/** What happens, in this order, again and again, to a random director at random instants. */
const FAULTS = ["frozen", "killed", "away", "frozen", "killed"] as const;
const DIRECTORS = 4;
/** The part of a lease for which some deliveries of a busy director keep its thread busy at most. */
const BUSY = 0.5;
/** The number of programs that enqueue deliveries. */
const PRODUCERS = 8;
const PAUSE_WHILE_FULL_MS = 100;
const QUEUE = "deliveries";

/** Expects every delivery of a run to arrive. Returns how often the directors did what. */
async function expectDelivered(run: Run): Promise<ReadonlyMap<string, number>> {
  const { seed, durationMs, count, faultPauseMs, leaseMs } = run;
  const picks = seededPicks(seed);
  const folder = await mkdtemp(path.join(tmpdir(), "cairn-deliveries-"));
  const nats = await startNatsServer();
  const receiver = await BadReceiver.start(seededRandom(seed * 77));
  const nodes = Array.from({ length: run.nodes }, (_, at) => `node-${at}`).map((id) =>
    NodeProcess.start({ id, dir: path.join(folder, id), env: { NATS_URL: nats.url } }),
  );
  const deliverers: Deliverer[] = [];
  onTestFinished(async () => {
    await Promise.all([...deliverers, ...nodes].map((one) => one.kill()));
    await receiver.close();
    await nats.close();
    await rm(folder, { recursive: true, force: true });
  });
  await Promise.all(nodes.map((node) => node.ready()));
  const urls = await Promise.all(nodes.map((node) => node.url()));
  const client = new CairnClient({ urls });
  const policy = {
    shards: 16,
    // Shards become full several times, so that the directors drain them.
    cap: Math.max(50, count / 50),
    terminal: { state: ["delivered", "discarded"] },
    lease: leaseMs,
    retry: { first: 100, max: leaseMs },
  };
  await client.transact({ ops: [["configure", { queues: { [QUEUE]: policy } }]] });

  let started = 0;
  const start = (at: number): Deliverer => {
    const first = started % urls.length;
    started += 1;
    // Half of the directors are busy.
    const busyMs = at % 2 === 0 ? leaseMs * BUSY : 0;
    return new Deliverer(`deliverer-${started}`, [...urls.slice(first), ...urls.slice(0, first)], busyMs);
  };
  for (let at = 0; at < DIRECTORS; at += 1) deliverers.push(start(at));

  const begunAt = Date.now();
  const names = Array.from({ length: count }, (_, number) => `delivery-${number}`);
  let refusals = 0;
  const produce = async (first: number): Promise<void> => {
    for (let number = first; number < count; number += PRODUCERS) {
      await delay(Math.max(0, begunAt + (number / count) * durationMs - Date.now()));
      const delivery = { state: "new", url: `http://127.0.0.1:${receiver.port}/`, body: { number } };
      while (!(await hasRoomFor(client, names[number] ?? "", delivery))) {
        refusals += 1;
        await delay(PAUSE_WHILE_FULL_MS);
      }
    }
  };
  const produced = Promise.all(Array.from({ length: PRODUCERS }, async (_, first) => await produce(first)));

  const faults = { killed: 0, frozen: 0, away: 0 };
  const thaws: Promise<unknown>[] = [];
  for (let turn = 0; Date.now() - begunAt < durationMs; turn += 1) {
    await delay(300 + picks.below(faultPauseMs));
    const at = picks.below(DIRECTORS);
    const fault = FAULTS[turn % FAULTS.length] ?? FAULTS[0];
    faults[fault] += 1;
    if (fault === "killed") {
      await deliverers[at]?.kill();
      deliverers[at] = start(at);
    } else if (fault === "frozen") {
      // Often longer than the lease, so that another director takes the shards over.
      thaws.push(deliverers[at]?.freeze(200 + picks.below(3 * leaseMs)) ?? Promise.resolve());
    } else await receiver.goAway(200 + picks.below(2_000));
  }
  await Promise.all([produced, ...thaws]);
  await expect
    .poll(async () => (await client.queue(QUEUE)).open, { timeout: 300_000, interval: 200 })
    .toBe(0);
  expect(await Promise.all(deliverers.map((one) => one.stop()))).toEqual(deliverers.map(() => 0));

  const ledger = await readLedger(nats.url, client, { queue: QUEUE, leaseMs });
  const lost = names.filter((name) => !receiver.received.has(name));
  const twice = names.filter((name) => (receiver.received.get(name) ?? 0) > 1);
  process.stdout.write(
    `deliveries, seed ${seed}: ${count - lost.length} delivered, ${twice.length} of them more than once; ` +
      `${lost.length} lost, ${ledger.violations.length} violations; refused ${refusals} times while the queue was full; ` +
      `${JSON.stringify(faults)} ${JSON.stringify(Object.fromEntries(ledger.counts))}\n`,
  );
  expect(ledger.violations).toEqual([]);
  expect(lost).toEqual([]);
  expect(ledger.open).toEqual([]);
  expect(names.filter((name) => ledger.finished.get(name) !== 1)).toEqual([]);
  return ledger.counts;
}

const PROMISE =
  "every delivery arrives, and no shard has two directors, while they are killed and frozen and the receiver fails";

it(`${PROMISE} (seed ${SAMPLE.seed})`, async () => {
  await expectDelivered(SAMPLE);
});

it(
  `${PROMISE}, for longer (seed ${CAMPAIGN.seed})`,
  { tags: "rest/campaign", timeout: 300_000 + 2 * CAMPAIGN.durationMs },
  async () => {
    const counts = await expectDelivered(CAMPAIGN);
    expect(counts.get("takeover")).toBeGreaterThan(0);
    expect(counts.get("retire")).toBeGreaterThan(0);
  },
);

/** Enqueues a delivery. Returns false if all shards are full, as they may be until one of them is drained. */
async function hasRoomFor(client: CairnClient, name: string, delivery: Json): Promise<boolean> {
  try {
    await client.enqueue(QUEUE, name, delivery);
    return true;
  } catch (error) {
    if (error instanceof CairnClientError && error.message.includes("no active shard below its cap"))
      return false;
    throw error;
  }
}
