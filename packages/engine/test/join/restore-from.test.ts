// @module-tag nats
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { type CheckpointStore, filesystemStore, listCheckpoints } from "@cairn/checkpoint";
import { s3Store } from "@cairn/checkpoint-s3";
import { faultyStore, manualClock, type StoreCall, unreachable } from "@cairn/checkpoint/testing";
import { pino } from "pino";
import { afterEach, beforeEach, expect, it, onTestFinished, vi } from "vitest";
import type { CairnNode, RunOptions } from "../../src/node/node.ts";
import { runNode } from "@cairn/node";
import { openEmbeddedTxLog } from "../../src/log/embedded/embedded-tx-log.ts";
import { hurryClock } from "@cairn/test-support/nodes/hurried-clock";
import { quietSystem } from "@cairn/test-support/nodes/quiet-system";
import { put } from "@cairn/test-support/nodes/trim-scene";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";

let folder = "";
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-restore-from-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

function at(name: string): CheckpointStore {
  return filesystemStore({ path: path.join(folder, name) });
}

async function start(
  nodeId: string,
  store: CheckpointStore,
  restoreFrom: readonly CheckpointStore[],
  options: RunOptions = {},
): Promise<CairnNode> {
  const openTxLog = async () => await openEmbeddedTxLog({ path: path.join(folder, "log") });
  const node = await runNode(
    quietSystem({ folder, nodeId, openTxLog, checkpointer: { store, restoreFrom } }),
    options,
  );
  onTestFinished(() => node.close());
  return node;
}

/**
 * Creates a log of eleven messages and `more`, with checkpoints at 6 and 11 in `primary`, which are copied to `mirror`.
 * Returns their names, with the older one first.
 */
async function mirrored(more = 1): Promise<string[]> {
  const node = await start("first", at("primary"), [at("primary")]);
  await node.ready;
  await put(node, 0, 5);
  await saveCheckpoint(node);
  await put(node, 5, 10);
  await saveCheckpoint(node);
  await put(node, 10, 10 + more);
  await node.close();
  await cp(path.join(folder, "primary"), path.join(folder, "mirror"), { recursive: true });
  const { checkpoints } = await listCheckpoints(at("mirror"));
  return checkpoints.map(({ name }) => name).toReversed();
}

async function damage(store: string, name: string): Promise<void> {
  const archive = path.join(folder, store, `${name}.tar`);
  const bytes = await readFile(archive);
  bytes[600] = (bytes[600] ?? 0) ^ 1;
  await writeFile(archive, bytes);
}

it("a node joins from a mirror, which it only reads, and saves to its own store", async () => {
  const [, newer = ""] = await mirrored();
  const calls: StoreCall[] = [];
  const mirror = faultyStore(at("mirror"), { before: async (call) => void calls.push(call) });
  const node = await start("second", at("own"), [mirror]);
  await node.ready;
  const { join } = await node.status();
  expect(join).toMatchObject({ restoredFrom: { name: newer, store: mirror.location }, replayed: 1 });
  await put(node, 20, 21);
  await saveCheckpoint(node);
  expect((await listCheckpoints(at("own"))).checkpoints).toHaveLength(1);
  const reads = ["list", "open", "openRanges", "read", "readRange"];
  expect(calls.map(({ method }) => method)).toContain("open");
  expect(calls.filter(({ method }) => !reads.includes(method))).toEqual([]);
});

it("a node that restores a checkpoint reserves it in the store to which it saves, even if restore-from names that store again", async () => {
  await mirrored();
  const created: string[] = [];
  const before = async ({ method, name }: StoreCall): Promise<void> =>
    void (method === "create" ? created.push(name) : 0);
  const node = await start("second", at("primary"), [faultyStore(at("primary"), { before })]);
  await node.ready;
  expect(created).toEqual([expect.stringMatching(/^reservations\//)]);
});

it("a node reads a mirror with the same address as its own store, and does not mistake damage there for damage in its own", async () => {
  const [older = "", newer = ""] = await mirrored(0);
  await damage("mirror", newer);
  const calls: StoreCall[] = [];
  const own = at("primary");
  const mirror = Object.assign(faultyStore(at("mirror"), { before: async (call) => void calls.push(call) }), {
    location: own.location,
    identity: "another service",
  });
  const node = await start("second", own, [mirror]);
  await node.ready;
  expect((await node.status()).join).toMatchObject({ restoredFrom: { name: older } });
  expect(await node.checkpoint().done).toMatchObject({ skipped: "unchanged" });
  expect(calls.map(({ method }) => method)).not.toContain("create");
  expect((await listCheckpoints(own)).checkpoints).toMatchObject([{ damaged: false }, { damaged: false }]);
});

it("a node restores a checkpoint that is damaged in one store from the next store", async () => {
  const [, newer = ""] = await mirrored();
  await damage("primary", newer);
  const node = await start("second", at("primary"), [at("primary"), at("mirror")]);
  await node.ready;
  expect((await node.status()).join).toMatchObject({
    restoredFrom: { name: newer, store: at("mirror").location },
    skipped: [{ name: newer, store: at("primary").location, code: "CHECKPOINT_CORRUPT" }],
  });
  const marked = async (name: string) =>
    (await listCheckpoints(at(name))).checkpoints.filter(({ damaged }) => damaged).map((one) => one.name);
  // Other nodes that save to this store do not have to find the damage themselves.
  expect([await marked("primary"), await marked("mirror")]).toEqual([[newer], []]);
});

it(
  "a node that skips many checkpoints names a few of them, and counts the others",
  { tags: "rest/slow" },
  async () => {
    const node = await start("first", at("own"), [at("own")]);
    await node.ready;
    const names: string[] = [];
    for (let n = 0; n < 9; n += 1) {
      await put(node, n, n + 1);
      names.unshift(await saveCheckpoint(node));
    }
    await node.close();
    for (const name of names.slice(0, 8)) await rm(path.join(folder, "own", `${name}.tar`));
    const lines: { readonly msg: string }[] = [];
    const write = (line: string): void => void lines.push(JSON.parse(line) as { readonly msg: string });
    const logger = pino({ level: "info" }, { write });
    const second = await start("second", at("own"), [at("own")], { logger });
    await second.ready;
    const { join, findings } = await second.status();
    expect(join.restoredFrom).toMatchObject({ name: names[8] });
    expect(join.skipped.map(({ name, others }) => [name, others])).toEqual([
      ...names.slice(0, 4).map((name) => [name, 0]),
      [names[4], 3],
    ]);
    expect(findings.filter(({ code }) => code === "checkpoint-skipped")).toHaveLength(1);
    expect(lines.filter(({ msg }) => msg.includes("checkpoint skipped"))).toHaveLength(5);
    expect(lines).toContainEqual(expect.objectContaining({ others: 3 }));
    expect(lines).toContainEqual(expect.objectContaining({ msg: "checkpoint restored", skipped: 8 }));
  },
);

it("a node joins from another store if one is unreachable, and reports it", async () => {
  const [, newer = ""] = await mirrored();
  const away = faultyStore(at("primary"), { fail: unreachable });
  const node = await start("second", at("own"), [away, at("mirror")]);
  await node.ready;
  expect((await node.status()).join).toMatchObject({
    restoredFrom: { name: newer, store: at("mirror").location },
    skipped: [{ name: "", store: away.location, code: "STORE_UNREACHABLE" }],
  });
});

it.each([
  ["the only one", []],
  ["together with an empty one", ["empty"]],
])("a store that cannot be reached, %s, is waited for and never mistaken for empty", async (_, others) => {
  hurryClock();
  const [, newer = ""] = await mirrored();
  let isAway = true;
  let tries = 0;
  const store = faultyStore(at("mirror"), {
    fail: ({ method }) => {
      if (method === "list") tries += 1;
      return isAway ? unreachable() : undefined;
    },
  });
  const node = await start("second", at("own"), [store, ...others.map(at)]);
  await vi.waitFor(() => expect(tries).toBeGreaterThan(2), { timeout: 30_000 });
  expect(await node.status()).toMatchObject({
    phase: "restoring",
    failure: { code: "STORE_UNREACHABLE" },
    join: { replayed: 0 },
  });
  isAway = false;
  await node.ready;
  const { join, failure } = await node.status();
  expect([join.restoredFrom?.name, join.replayed, failure]).toEqual([newer, 1, null]);
});

it.each(["a log that is not there yet", "a log that others wrote"])(
  "a node on %s reports that it waits for a store which never responds, and can be stopped while it waits",
  async (which) => {
    if (which === "a log that others wrote") await mirrored();
    const taken = new Set<Socket>();
    const silent = createServer((socket) => void taken.add(socket.resume().on("error", () => undefined)));
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
    onTestFinished(() => void silent.close());
    const { port } = silent.address() as AddressInfo;
    const endpoint = `http://127.0.0.1:${port}`;
    const credentials = { accessKeyId: "k", secretAccessKey: "s" };
    const store = s3Store({ bucket: "b", endpoint, region: "r", credentials });
    const node = await start("second", store, [store], { stall: { afterMs: 200 } });
    await vi.waitFor(
      async () =>
        expect((await node.status()).stalled).toMatchObject({
          waitingFor: "store",
          message: expect.stringContaining(`the checkpoint store s3://b at ${endpoint}`),
        }),
      { timeout: 60_000 },
    );
    const closing = performance.now();
    await node.close();
    // Its requests are aborted immediately. Otherwise, the next request would be sent only after half a minute of
    // silence.
    expect(performance.now() - closing).toBeLessThan(25_000);
    await vi.waitFor(() => expect([...taken].every(({ readyState }) => readyState === "closed")).toBe(true));
  },
);

it("a node that reads one unusable manifest after the other is not stalled, however long that takes", async () => {
  const names = await mirrored();
  const clock = manualClock();
  let reads = 0;
  const before = async ({ method, name }: StoreCall): Promise<void> => {
    if (method !== "read" || !/^checkpoint-.*[0-9a-f]{8}\.json$/.test(name)) return;
    reads += 1;
    // The first two reads are to find out whether the log is an old copy, which never takes long.
    if (reads <= 2) return;
    await vi.waitFor(async () => {
      const { phase, stalled } = await node.status();
      expect(phase).toBe("restoring");
      // The response to the first one takes too long, and the second one follows it.
      if (reads > 3) return expect(stalled).toBeNull();
      clock.advance(1_000);
      expect(stalled).toMatchObject({ waitingFor: "store" });
    }, 30_000);
  };
  const store = faultyStore(at("mirror"), { before });
  for (const name of names) await rm(path.join(folder, "mirror", `${name}.tar`));
  const node = await start("second", at("own"), [store], { stall: { afterMs: 1_000, clock } });
  await node.ready;
  expect(reads).toBe(4);
});
