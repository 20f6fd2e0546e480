// @module-tag nats
// @module-tag rest/slow
import { CairnClient } from "@cairn/client";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { type Deployment, type Pod, runKubelet } from "../src/index.ts";
import { RoleProcess } from "./support/role-process.ts";
import { type CommittedTransaction, committedTransactions } from "./support/log-oracle.ts";
import { allEvents, ObservedController } from "./support/observed-controller.ts";
import { ThreeNodes } from "./support/three-nodes.ts";

const SEED = Number(process.env["CAIRN_SEED"] ?? 20_261);
const ROUNDS = 10;

let nodes: ThreeNodes;
let client: CairnClient;
const stop = new AbortController();
const kubelets: Promise<void>[] = [];
const ending: (() => Promise<unknown>)[] = [];
const desired = new Map<string, Deployment>();

beforeAll(async () => {
  nodes = await ThreeNodes.open();
  client = new CairnClient({ urls: nodes.urls });
  await client.setPolicies({ history: { "*": { keep: 0 } } });
  for (const number of [0, 1, 2]) {
    const urls = nodes.from(number);
    const options = { client: new CairnClient({ urls }), node: `node-${number}`, pods: 8 };
    kubelets.push(runKubelet({ ...options, signal: stop.signal }));
  }
});
afterEach(async () => {
  for (const end of ending.splice(0).toReversed()) await end();
});
afterAll(async () => {
  stop.abort();
  await Promise.all(kubelets);
  await nodes.close();
});

/** Sets a deployment's desired number of pods. */
async function scale(name: string, replicas: number, image: string): Promise<void> {
  await client.put("deployments", name, { image, replicas });
  desired.set(`default/${name}`, { image, replicas });
}

/** Writes so much that the nodes remove history. */
async function rewriteMarks(round: number): Promise<void> {
  const writes = Array.from({ length: 200 }, (_, n) => client.put("marks", `mark-${n}`, round));
  await Promise.all(writes);
}

/** Counts the running pods with the right image for each deployment, and all other pods. */
async function actual(): Promise<{ running: ReadonlyMap<string, number>; others: number }> {
  const running = new Map([...desired.keys()].map((key) => [key, 0]));
  let others = 0;
  for await (const { document: pod } of client.list<Pod>("pods")) {
    const isRight = pod.phase === "Running" && pod.image === desired.get(pod.deployment)?.image;
    if (isRight) running.set(pod.deployment, (running.get(pod.deployment) ?? 0) + 1);
    else others += 1;
  }
  return { running, others };
}

async function waitUntilAsDesired(): Promise<void> {
  const running = new Map([...desired].map(([key, { replicas }]) => [key, replicas]));
  await expect.poll(actual, { timeout: 30_000 }).toEqual({ running, others: 0 });
}

function controller(name: string, first: number): ObservedController {
  const started = new ObservedController(name, nodes.from(first));
  ending.push(() => started.crash());
  return started;
}

function controllerProcess(name: string): RoleProcess {
  const started = new RoleProcess(["controller", name], nodes.urls);
  ending.push(() => started.kill());
  return started;
}

/**
 * Expects that each complete state of a controller was that of the log, in order, up to the controller's crash if it
 * crashed, and that it received everything only once. Returns the transactions that took effect.
 */
async function expectStatesOfTheLog(
  controllers: readonly ObservedController[],
): Promise<readonly CommittedTransaction[]> {
  const { txId: end } = await client.put("marks", "end", true);
  for (const { seen, crashed } of controllers) {
    if (crashed) continue;
    await expect.poll(() => seen.at(-1)?.asOf, { timeout: 30_000 }).toBeGreaterThanOrEqual(end);
  }
  const committed = (await committedTransactions(nodes.nats.url)).filter(({ txId }) => txId <= end);
  for (const { seen, beginnings } of controllers) {
    const states = seen.filter(({ asOf }) => asOf <= end);
    for (const { asOf, documents } of states) {
      const logged = committed.findLast(({ txId }) => txId <= asOf)?.documents ?? [];
      const expected = logged.filter((text) => !text.startsWith("marks "));
      expect({ asOf, documents }).toEqual({ asOf, documents: expected });
    }
    const order = states.map(({ asOf }) => asOf);
    expect(order).toEqual(order.toSorted((a, b) => a - b));
    expect(new Set(order).size).toBeGreaterThan(10);
    expect(beginnings).toBe(1);
  }
  return committed;
}

describe("the orchestrator on three nodes of one log", () => {
  it("works while nodes and controllers are killed, and every complete state of a controller is that of the log", async () => {
    const random = seeded(SEED);
    const controllers = [controller("alpha", 0), controller("beta", 1)];
    for (let round = 0; round < ROUNDS; round += 1) {
      await nodes.kill(random(3));
      await scale("web", random(9), `nginx:${1 + random(2)}`);
      if (random(2) === 0) await nodes.kill(random(3));
      await scale("api", random(9), "api:1");
      await rewriteMarks(round);
      if (round === ROUNDS / 2) {
        const holder = (await client.get<{ holder: string }>("leases", "controller"))?.document.holder;
        await controllers.find(({ name }) => name === holder)?.crash();
        controllers.push(controller("gamma", 2));
      }
      if (random(2) === 0) await waitUntilAsDesired();
      for (const number of [0, 1, 2]) nodes.start(number);
      await nodes.ready();
    }
    await waitUntilAsDesired();

    const committed = await expectStatesOfTheLog(controllers);
    await expect(client.watch({ from: "0" }).next()).rejects.toMatchObject({ code: "WATCH_COMPACTED" });
    const holders = committed.flatMap(({ changes }) =>
      changes.flatMap((text) => /^put leases \S+ {"holder":"(\w+)"/.exec(text)?.[1] ?? []),
    );
    expect(new Set(holders).size).toBeGreaterThan(1);

    const recorded = (await allEvents(client)).map(({ object, reason }) => `${object} ${reason}`);
    expect(recorded).toEqual(committed.flatMap(({ events }) => events));
    const scheduled = committed.flatMap(({ changes }) =>
      changes.flatMap((text) => /^put pods (\S+) .*"phase":"Pending"/.exec(text)?.[1] ?? []),
    );
    expect(scheduled.length).toBeGreaterThan(10);
    expect(recorded.filter((text) => text.endsWith(" Scheduled"))).toEqual(
      scheduled.map((name) => `pod/${name} Scheduled`),
    );
  });

  it("continues after an outage of the log's server and a node", async () => {
    const controllers = [controller("delta", 0), controller("epsilon", 1)];
    for (const replicas of [2, 7]) {
      await scale("web", replicas, "nginx:5");
      await waitUntilAsDesired();
      await nodes.nats.kill();
      for (const url of nodes.urls) await expect.poll(() => logIsReachable(url)).toBe(false);
      // No node can accept it yet. It takes effect once, through any node.
      const scaled = scale("web", replicas + 1, "nginx:5");
      await nodes.kill(replicas % 3);
      await nodes.nats.start();
      await scaled;
      nodes.start(replicas % 3);
      await nodes.ready();
      await waitUntilAsDesired();
    }
    await expectStatesOfTheLog(controllers);
  });

  it("can be observed at any node: its machines, and its newest events", async () => {
    const alpha = controller("alpha", 0);
    await scale("web", 0, "nginx:1");
    await waitUntilAsDesired();
    await scale("web", 3, "nginx:1");
    await waitUntilAsDesired();
    await alpha.crash();
    for (const url of nodes.urls) {
      const machines = await (await fetch(`${url}/api/v1/nodes?min-tx=${client.lastTx}`)).json();
      expect(machines).toMatchObject([
        { namespace: "default", name: "node-0", document: { pods: 8 } },
        { namespace: "default", name: "node-1", document: { pods: 8 } },
        { namespace: "default", name: "node-2", document: { pods: 8 } },
      ]);
      const events = (await (await fetch(`${url}/api/v1/events`)).json()) as object[];
      expect(events.slice(0, 3)).toMatchObject([
        {
          object: expect.stringMatching(/^pod\/default\/web-\d$/),
          reason: "Scheduled",
          time: expect.stringMatching(/^\d{19}$/),
        },
        { object: expect.stringMatching(/^pod\/default\/web-\d$/), reason: "Scheduled" },
        { object: expect.stringMatching(/^pod\/default\/web-\d$/), reason: "Scheduled" },
      ]);
    }
  });

  it("passes the lease on if its holder freezes or is killed, and a controller that resumes acts only with the lease", async () => {
    const first = controllerProcess("first");
    await expect.poll(() => first.output(), { timeout: 30_000 }).toMatch(/first takes the lease/);
    const second = controllerProcess("second");
    await scale("web", 5, "nginx:3");
    await waitUntilAsDesired();
    first.signal("SIGSTOP");
    await scale("web", 2, "nginx:3");
    await waitUntilAsDesired();
    expect(second.output()).toMatch(/second takes the lease, which first had/);
    const before = first.output();
    first.signal("SIGCONT");
    await scale("web", 4, "nginx:3");
    await waitUntilAsDesired();
    // The first controller may acquire the lease again if the other one was also paused.
    expect(first.output().slice(before.length)).toMatch(/^(first takes the lease|$)/);
    await second.kill();
    await scale("web", 1, "nginx:4");
    await waitUntilAsDesired();
    expect(first.output()).toMatch(/first takes the lease, which second had/);
  });
});

async function logIsReachable(url: string): Promise<boolean> {
  const { log } = (await (await fetch(`${url}/status`)).json()) as { log: { reachable: boolean } };
  return log.reachable;
}

/** Returns a seeded generator of integers below a bound (mulberry32). */
function seeded(seed: number): (bound: number) => number {
  let state = seed;
  return (bound) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * bound);
  };
}
