import { mkdtemp, open, readdir, readFile, rm } from "node:fs/promises";
import { setImmediate } from "node:timers/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import {
  CairnError,
  type ErrorCode,
  isCairnError,
  type KvProvider,
  type KvStore,
  levelProvider,
} from "@cairn/kv";
import type { TxId } from "@cairn/client";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { openEmbeddedTxLog, type CairnNode } from "@cairn/engine";
import { runNode } from "../src/start-node.ts";
import { quietSystem } from "@cairn/test-support/nodes/quiet-system";

const DOCUMENTS = 50;
const DAMAGED = 20;
const names = Array.from({ length: DOCUMENTS }, (_, n) => `k${n}`);
const key = (name: string) => ({ bucket: "pods", namespace: "default", name });
/** Returns a document's text, which is unique in the tables. */
const content = (n: number, version: number): string => `document ${n} as of ${version}.`;

let folder = "";
let node: CairnNode;
let store: KvStore;
/** The last transaction that wrote a document's first version, and the last transaction of the log. */
let first: TxId = 0;
let last: TxId = 0;

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-damaged-documents-"));
  const system = quietSystem({
    folder,
    nodeId: "n",
    openTxLog: () => openEmbeddedTxLog({ path: path.join(folder, "n-log") }),
  });
  const http = { host: "127.0.0.1", port: 0, maxBody: 1024 * 1024 };
  node = await runNode({ ...system, kvProvider: remembered(), http });
  await node.ready;
  await node.submit({ ops: [["configure", { indexes: { pods: ["team"] } }]] });
  first = await put(1);
  last = await put(2);
  for (const n of names.keys())
    ({ txId: last } = await node.submit({
      ops: [["event", { bucket: "pods", object: `k${n}`, reason: "Tried", message: `event ${n}.` }]],
    }));
  await node.await(last);
  // The node runs, and everything is in tables.
  await store.compact();
});
afterEach(async () => {
  await node.close();
  await rm(folder, { recursive: true, force: true });
});

/** Returns a LevelDB provider that stores rows uncompressed, and whose newest store the test can compact. */
function remembered(): KvProvider {
  const level = levelProvider({ compression: false });
  return { ...level, open: async (dir) => (store = await level.open(dir)) };
}

async function put(version: number): Promise<TxId> {
  const submitted = names.map((name, n) =>
    node.submit({
      ops: [["put", "pods", name, { text: content(n, version), team: n % 2 === 0 ? "a" : "b" }]],
    }),
  );
  const { txId } = (await Promise.all(submitted)).at(-1) ?? { txId: 0 };
  await node.await(txId);
  return txId;
}

/**
 * Changes one byte in each occurrence of one of `texts` in the live index's tables. Fails if one of them does not
 * occur.
 */
async function damage(texts: readonly string[]): Promise<void> {
  const live = path.join(folder, "n-index", "live");
  const missing = new Set(texts);
  for (const name of (await readdir(live)).filter((file) => file.endsWith(".ldb"))) {
    const bytes = await readFile(path.join(live, name));
    const file = await open(path.join(live, name), "r+");
    for (const text of texts) {
      for (let at = bytes.indexOf(text); at >= 0; at = bytes.indexOf(text, at + 1)) {
        const place = at + (at % text.length);
        await file.write(Buffer.from([bytes.readUInt8(place) ^ 1]), 0, 1, place);
        missing.delete(text);
      }
    }
    await file.close();
  }
  expect([...missing]).toEqual([]);
}

/**
 * Repeats `read` until all its results are the expected ones. Until then, each result must be correct or one of these
 * errors.
 */
async function expectRightOrRefused(read: () => readonly Promise<unknown>[], expected: readonly unknown[]) {
  let refused = 0;
  for (;;) {
    const answers = await Promise.allSettled(read());
    const failed = answers.filter((answer) => answer.status === "rejected");
    for (const [index, answer] of answers.entries()) {
      if (answer.status === "fulfilled") expect(answer.value).toEqual(expected[index]);
      else if (!isCairnError(answer.reason)) throw answer.reason;
      else expect(["INDEX_CORRUPT", "NOT_READY"]).toContain(answer.reason.code);
    }
    refused += failed.length;
    if (failed.length === 0) break;
    // Refusals are immediate, so the test must let the node run.
    await setImmediate();
  }
  expect(refused).toBeGreaterThan(0);
  expect((await node.status()).join.movedAside).toMatchObject([{ code: "INDEX_CORRUPT" }]);
}

const current = (n: number): string => content(n, 2);
const superseded = (n: number): string => content(n, 1);
/** The operations of a transaction, as in its row. */
const operations = (n: number): string => `"k${n}"`;
const event = (n: number): string => `event ${n}.`;

async function getOverHttp(name: string): Promise<string> {
  const response = await fetch(`${node.url ?? ""}/api/v1/pods/default/${name}`);
  const text = await response.text();
  if (response.ok) return text;
  const { error } = JSON.parse(text) as { error: { code: ErrorCode; message: string } };
  throw new CairnError(error.code, error.message);
}

async function listAll(query: object): Promise<unknown> {
  const documents: unknown[] = [];
  let cursor: string | undefined;
  do {
    const page = await node.list({
      bucket: "pods",
      limit: 7,
      ...query,
      ...(cursor === undefined ? {} : { cursor }),
    });
    documents.push(...page.documents);
    ({ cursor } = page);
  } while (cursor !== undefined);
  return documents;
}

/** Returns every change of the log, in the order in which a watch from the beginning delivers it. */
async function watchAll(query: object): Promise<unknown> {
  const told: unknown[] = [];
  for await (const change of node.watch({ from: "0", ...query })) {
    if (change.type === "cutoff") throw new CairnError("NOT_READY", change.message);
    if (change.type === "tx") told.push(change);
    if (told.length === 2 * DOCUMENTS) break;
  }
  return told;
}

/**
 * Returns the same changes from the histories. Watched changes stay in memory for a while, where no change on disk
 * affects them.
 */
async function everyChange(): Promise<unknown> {
  const histories = await Promise.all(names.map((name) => node.history(key(name))));
  const changes = histories.flatMap(({ versions }, n) =>
    versions.map(({ revision, txTime, json }) => ({
      type: "tx",
      txId: revision,
      txTime,
      position: expect.stringContaining(`${revision}-`) as string,
      changes: [{ op: "put", ...key(names[n] ?? ""), revision, json }],
    })),
  );
  return changes.toSorted((a, b) => a.txId - b.txId);
}

/** Returns undefined for a transaction that a node which rebuilds its index does not have yet. */
async function outcome(txId: TxId): Promise<unknown> {
  const found = await node.outcome(txId);
  if (found === undefined) throw new CairnError("NOT_READY", "It is not indexed yet.");
  return found;
}

type Read = () => readonly Promise<unknown>[];
const all = (read: (name: string) => Promise<unknown>) => () => names.map((name) => read(name));
const alone = (read: () => Promise<unknown>) => () => [read()];

describe("a running node with a changed byte in the table rows of 20 documents", () => {
  it.each([
    ["GET", current, all((name) => node.get(key(name)))],
    ["GET over HTTP", current, all(getOverHttp)],
    ["a list", current, alone(() => listAll({}))],
    ["a list by a field", current, alone(() => listAll({ where: { field: "team", value: "a" } }))],
    [
      "a list of the past by a field",
      superseded,
      alone(() => listAll({ where: { field: "team", value: "a" }, asOf: { txId: first } })),
    ],
    ["a list of the past", superseded, alone(() => listAll({ asOf: { txId: first } }))],
    ["a history's newest version", current, all((name) => node.history(key(name)))],
    ["a history's older versions", superseded, all((name) => node.history(key(name)))],
    ["GET of the past", superseded, all((name) => node.get(key(name), { asOf: { txId: first } }))],
    ["a watch of current documents", current, alone(() => watchAll({ bucket: "pods" })), alone(everyChange)],
    [
      "a watch of superseded versions",
      superseded,
      alone(() => watchAll({ bucket: "pods" })),
      alone(everyChange),
    ],
    ["a watch of the effects of transactions", operations, alone(() => watchAll({})), alone(everyChange)],
    ["an outcome", operations, () => Array.from({ length: last }, (_, n) => outcome(n + 1))],
    ["events", event, alone(() => node.events())],
    ["the digest", current, alone(() => node.digest())],
    ["the digest of superseded versions", superseded, alone(() => node.digest())],
  ] satisfies [string, (n: number) => string, Read, Read?][])(
    "responds to %s correctly or with an error, and rebuilds its index",
    { tags: "rest/slow" },
    async (_, textOf, read, readBefore = read) => {
      const expected = await Promise.all(readBefore());
      await damage(names.slice(0, DAMAGED).map((__, n) => textOf(n)));
      await expectRightOrRefused(read, expected);
    },
  );

  it.each([
    ["writes over them", { ops: names.map((name) => ["put", "pods", name, { text: "third." }] as const) }],
    ["deletes them", { ops: names.map((name) => ["delete", "pods", name] as const) }],
    [
      "indexes another field of these documents",
      { ops: [["configure", { indexes: { pods: ["text"] } }]] as const },
    ],
  ])("rebuilds its index when it %s, and keeps no changed data", async (_, transaction) => {
    const before = await Promise.all(names.map((name) => node.history(key(name))));
    await damage(names.slice(0, DAMAGED).map((__, n) => current(n)));
    const { txId } = await node.submit(transaction);
    await node.await(txId);
    await vi.waitFor(async () => {
      expect((await node.status()).join.movedAside).toMatchObject([{ code: "INDEX_CORRUPT" }]);
      expect(node.phase).toBe("ready");
    }, 30_000);
    for (const [n, name] of names.entries()) {
      const { versions } = await node.history(key(name));
      expect(versions.filter(({ revision }) => revision <= last)).toEqual(before[n]?.versions);
    }
  });
});
