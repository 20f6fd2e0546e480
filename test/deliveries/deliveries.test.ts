import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { CairnClient } from "@cairn/client";
import { startNatsServer } from "@cairn/node/testing";
import { expect, it, onTestFinished } from "vitest";
import { NodeProcess, ROOT } from "../support/cairn-process.ts";
import { seededRandom } from "../support/seeded-random.ts";
import { audit } from "./ownership.ts";
import { BadReceiver } from "./receiver.ts";

const DELIVERIES = path.join(ROOT, "examples/deliveries/dist/src/main.js");
const QUEUE = "deliveries";
const LEASE_MS = 2_000;
const POLICY = {
  shards: 16,
  cap: 10_000,
  terminal: { state: ["delivered", "discarded"] },
  lease: LEASE_MS,
  retry: { first: 100, max: 2_000 },
};
const DIRECTORS = 3;

const minutes = Number(process.env["CAIRN_SOAK_MINUTES"] ?? 0);
const COUNT = minutes === 0 ? 500 : minutes * 10_000;
/** The time over which the deliveries are enqueued. */
const DURATION_MS = minutes === 0 ? 8_000 : minutes * 60_000;

/** A process that delivers. */
class Deliverer {
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;

  constructor(name: string, urls: string) {
    const env = { ...process.env, CAIRN_URLS: urls };
    this.#child = spawn(process.execPath, [DELIVERIES, "deliver", name], {
      env,
      stdio: ["ignore", "ignore", "inherit"],
    });
    this.#exited = once(this.#child, "exit");
  }

  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#exited;
  }

  async freeze(ms: number): Promise<void> {
    this.#child.kill("SIGSTOP");
    await delay(ms);
    this.#child.kill("SIGCONT");
  }

  /** Ends the process in order, and returns its exit code. */
  async stop(): Promise<number | null> {
    this.#child.kill("SIGTERM");
    await this.#exited;
    return this.#child.exitCode;
  }
}

it(
  "every delivery arrives, and no shard has two directors, while directors are killed and frozen and the receiver fails",
  async () => {
    const seed = Number(process.env["CAIRN_SOAK_SEED"] ?? 26);
    const random = seededRandom(seed);
    const folder = await mkdtemp(path.join(tmpdir(), "cairn-deliveries-"));
    const nats = await startNatsServer();
    const receiver = await BadReceiver.start(random);
    const nodes = ["a", "b", "c"].map((id) =>
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
    await client.transact({ ops: [["configure", { queues: { [QUEUE]: POLICY } }]] });

    let started = 0;
    const start = (): Deliverer => {
      const first = started % urls.length;
      started += 1;
      return new Deliverer(`deliverer-${started}`, [...urls.slice(first), ...urls.slice(0, first)].join());
    };
    for (let at = 0; at < DIRECTORS; at += 1) deliverers.push(start());

    const enqueued: string[] = [];
    const begun = Date.now();
    const enqueue = async (from: number): Promise<void> => {
      for (let number = from; number < COUNT; number += 4) {
        await delay(Math.max(0, begun + (number / COUNT) * DURATION_MS - Date.now()));
        const name = `delivery-${number}`;
        const url = `http://127.0.0.1:${receiver.port}/hook`;
        await client.enqueue(QUEUE, name, { state: "new", url, body: { number } });
        enqueued.push(name);
      }
    };
    const enqueuing = Promise.all([0, 1, 2, 3].map(enqueue));

    const happened = { killed: 0, frozen: 0, away: 0 };
    const wrecks: Promise<unknown>[] = [];
    while (Date.now() - begun < DURATION_MS) {
      await delay(300 + random() * (minutes === 0 ? 1_000 : 4_000));
      const at = Math.floor(random() * DIRECTORS);
      const luck = random();
      if (luck < 0.4) {
        happened.killed += 1;
        await deliverers[at]?.kill();
        deliverers[at] = start();
      } else if (luck < 0.8) {
        happened.frozen += 1;
        wrecks.push(deliverers[at]?.freeze(200 + random() * 3 * LEASE_MS) ?? Promise.resolve());
      } else {
        happened.away += 1;
        await receiver.goAway(200 + random() * 2_000);
      }
    }
    await Promise.all([enqueuing, ...wrecks]);
    await expect
      .poll(async () => (await client.queue(QUEUE)).open, { timeout: 300_000, interval: 200 })
      .toBe(0);
    // A director that was frozen is the only one that may have been stopped by the time.
    expect(await Promise.all(deliverers.map((one) => one.stop()))).toEqual(deliverers.map(() => 0));

    const found = await audit(nats.url, { queue: QUEUE, leaseMs: LEASE_MS }, (txId) => client.await(txId));
    const twice = enqueued.filter((name) => (receiver.received.get(name) ?? 0) > 1).length;
    process.stdout.write(
      `seed ${seed}: ${enqueued.length} deliveries, ${twice} delivered more than once, ${JSON.stringify(happened)}, ` +
        `${found.claims} claims, ${found.renewals} renewals and ends\n`,
    );
    expect(found.violations).toEqual([]);
    expect(enqueued.filter((name) => !receiver.received.has(name))).toEqual([]);
    expect(enqueued.filter((name) => found.finished.get(name) !== 1)).toEqual([]);
    expect(found.finished.size).toBe(COUNT);
  },
  300_000 + 2 * DURATION_MS,
);
