// @module-tag nats
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { type CairnNode, startNode } from "@cairn/node";
import { CairnClient } from "@cairn/client";
import { commitSeed } from "@cairn/kv/testing";
import { type NatsTestServer, startNatsServer } from "@cairn/log-nats/testing";
import { afterAll, beforeAll, expect, it } from "vitest";
import { checkHistory, type Observation, type Version } from "@cairn/test-support/cas-history";
import { seededRandom } from "@cairn/test-support/seeded-random";

const NODES = 3;
const CLIENTS = 12;
/** The seed that runs with every commit. */
const SAMPLE = commitSeed();

let folder = "";
let server: NatsTestServer | undefined;
const nodes: CairnNode[] = [];

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-linear-"));
  server = await startNatsServer();
  for (let n = 0; n < NODES; n += 1) {
    const node = await startNode({
      "cairn/node": { id: `n${n}`, dir: path.join(folder, `n${n}`) },
      "cairn/tx-log": { "cairn/module": "cairn.nats/->tx-log", servers: [server.url] },
      "cairn/index-store": { "kv-store": { "cairn/module": "cairn.leveldb/->kv-store" } },
      "cairn/http-server": { port: 0 },
    });
    nodes.push(node);
    await node.ready;
  }
});
afterAll(async () => {
  for (const node of nodes) await node.close();
  await server?.close();
  await rm(folder, { recursive: true, force: true });
});

/** The steps that every client takes, the keys that they share, and the seed of their choices. */
interface Course {
  readonly steps: number;
  readonly keys: readonly string[];
  readonly seed: number;
}

/** Reads a key and writes it at the revision that was read, each through a random node, and records the responses. */
async function client(id: number, seen: Observation[], { steps, keys, seed }: Course): Promise<void> {
  const draw = seededRandom(seed + id);
  const randomNode = (): CairnNode => nodes[Math.floor(draw() * NODES)] ?? (nodes[0] as CairnNode);
  // There is one client per node. The clients do not remember their writes, so consistency depends on min-tx alone.
  const clients = new Map(
    nodes.map((node) => [node, new CairnClient({ urls: node.url ?? "", readYourWrites: false })]),
  );
  const via = (): CairnClient => clients.get(randomNode()) ?? new CairnClient({ urls: "" });
  let seenTx = 0;
  for (let step = 0; step < steps; step += 1) {
    const key = keys[Math.floor(draw() * keys.length)] ?? "a";
    const value = `${id}.${step}`;
    const minTx = seenTx;
    const found = await via().get<string>("registers", key, { minTx });
    const revision = found?.revision ?? null;
    seen.push({ client: id, kind: "read", key, minTx, revision, value: found?.document ?? null });
    seenTx = Math.max(seenTx, revision ?? 0);
    const { txId } = await via().submit({
      ops: [
        ["match", "registers", key, revision],
        ["put", "registers", key, value],
      ],
    });
    // So far, only the log has the write: a node that ignored min-tx would show an older version.
    const after = await via().get<string>("registers", key, { minTx: txId });
    const read = { revision: after?.revision ?? null, value: after?.document ?? null };
    seen.push({ client: id, kind: "read", key, minTx: txId, ...read });
    const { committed } = await via().await(txId);
    seen.push({ client: id, kind: committed ? "written" : "lost", key, expected: revision, value, txId });
    seenTx = Math.max(seenTx, txId, after?.revision ?? 0);
  }
}

/** Returns the versions of a key, oldest first, from a node that has applied the whole log. */
async function versionsOf(node: CairnNode, key: string): Promise<Version[]> {
  const cairn = new CairnClient({ urls: node.url ?? "" });
  const versions: Version[] = [];
  for await (const { revision, document } of cairn.history<string>("registers", key)) {
    versions.unshift({ revision, value: document ?? null });
  }
  return versions;
}

/** Runs the clients, and compares their observations with the log. Returns how many writes had each outcome. */
async function compareWithLog(course: Course): Promise<{ written: number; lost: number }> {
  const seen: Observation[] = [];
  await Promise.all(Array.from({ length: CLIENTS }, async (_, id) => await client(id, seen, course)));
  const last = Math.max(...seen.map((one) => (one.kind === "read" ? (one.revision ?? 0) : one.txId)));
  for (const node of nodes) {
    // Aborted writes also have transaction ids.
    await new CairnClient({ urls: node.url ?? "" }).await(last);
    const log = new Map<string, Version[]>();
    for (const key of course.keys) log.set(key, await versionsOf(node, key));
    expect(checkHistory(seen, log)).toEqual([]);
  }
  const count = (kind: Observation["kind"]): number => seen.filter((one) => one.kind === kind).length;
  expect(count("written") + count("lost")).toBe(CLIENTS * course.steps);
  const digests = await Promise.all(nodes.map(async (node) => (await node.digest()).digest));
  expect(new Set(digests).size).toBe(1);
  return { written: count("written"), lost: count("lost") };
}

const PROMISE =
  "the responses to clients that compare and set a few keys through different nodes agree with the order of the log";

it(`${PROMISE} (seed ${SAMPLE})`, async () => {
  const { written, lost } = await compareWithLog({ steps: 6, keys: ["a", "b", "c"], seed: SAMPLE });
  expect(written).toBeGreaterThan(0);
  expect(lost).toBeGreaterThan(0);
});

it(`${PROMISE}, over many steps`, { tags: "rest/campaign" }, async () => {
  const { written, lost } = await compareWithLog({ steps: 40, keys: ["d", "e", "f"], seed: 1 });
  // Enough writes succeeded, and enough of them lost a conflict.
  expect(written).toBeGreaterThan(50);
  expect(lost).toBeGreaterThan(50);
});

it("checkHistory reports a stale, missing or duplicate success and a read that goes back in time", () => {
  const log = new Map([
    [
      "a",
      [
        { revision: 2, value: "x" },
        { revision: 4, value: "y" },
      ],
    ],
  ]);
  const written = { client: 1, kind: "written", key: "a" } as const;
  const first: Observation = { ...written, expected: null, value: "x", txId: 2 };
  const second: Observation = { ...written, expected: 2, value: "y", txId: 4 };
  expect(checkHistory([first, second], log)).toEqual([]);
  const read = { client: 1, kind: "read", key: "a" } as const;
  const wrong: [Observation[], RegExp][] = [
    [[first], /never acknowledged/],
    [[first, second, { ...written, expected: 4, value: "z", txId: 5 }], /is not in the log/],
    [[first, second, second], /acknowledged twice/],
    [[first, { ...second, expected: null }], /stale/],
    [
      [first, second, { ...written, kind: "lost", expected: 2, value: "y", txId: 4 }],
      /was lost, but is in the log/,
    ],
    [
      [first, second, { ...written, kind: "lost", expected: 2, value: "q", txId: 3 }],
      /lost without a reason/,
    ],
    [[first, second, { ...read, minTx: 4, revision: 2, value: "x" }], /is older than/],
    [[first, second, { ...read, minTx: 0, revision: 2, value: "y" }], /never had/],
  ];
  for (const [seen, problem] of wrong) expect(checkHistory(seen, log).join("; ")).toMatch(problem);
});
