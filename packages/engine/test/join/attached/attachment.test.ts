import { once, EventEmitter } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import type { CheckpointStore } from "@cairn/checkpoint";
import { faultyStore, type StoreFaults, unreachable } from "@cairn/checkpoint/testing";
import type { TxOperation } from "@cairn/client";
import { isCairnError, type KvProvider } from "@cairn/kv";
import { checkpointScene, type CheckpointScene } from "@cairn/test-support/nodes/saved-checkpoint";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";
import { expect, it, onTestFinished, vi } from "vitest";
import { pino } from "pino";
import type { System } from "../../../src/api/system.ts";
import type { CairnNode } from "../../../src/node/node.ts";

const COUNT = 600;
const key = (at: number) => ({ bucket: "pods", namespace: "default", name: `pod-${at}` });

async function write(node: CairnNode, version: number): Promise<number> {
  let txId = 0;
  for (let at = 0; at < COUNT; at += 60) {
    const ops = Array.from({ length: 60 }, (_, more): TxOperation => [
      "put",
      "pods",
      `pod-${at + more}`,
      { version, text: "x".repeat(500) },
    ]);
    ({ txId } = await node.await((await node.submit({ ops })).txId));
  }
  return txId;
}

interface Held extends CheckpointScene {
  /** The checkpoints, oldest first, with their last transactions. */
  readonly saved: readonly { readonly name: string; readonly txId: number }[];
  readonly faults: StoreFaults;
  /** Lets the archives be downloaded. */
  release(): void;
}

/** A store with checkpoints of versions 1 to `versions`, whose archives are downloaded only once they are released. */
async function held(versions = 1): Promise<Held> {
  const faults: StoreFaults = {};
  const scene = await checkpointScene((store) => faultyStore(store, faults));
  const node = await scene.start("a");
  await node.ready;
  const saved: { name: string; txId: number }[] = [];
  for (let version = 1; version <= versions; version += 1) {
    const txId = await write(node, version);
    saved.push({ name: await saveCheckpoint(node), txId });
  }
  await node.close();
  const gate = new EventEmitter();
  let isOpen = false;
  faults.before = async ({ method, name }) => {
    if (method === "open" && name.endsWith(".tar") && !isOpen) await once(gate, "open");
  };
  const release = (): void => {
    isOpen = true;
    gate.emit("open");
  };
  onTestFinished(release);
  return { ...scene, saved, faults, release };
}

async function attached(node: CairnNode): Promise<void> {
  await vi.waitFor(async () => expect((await node.status()).attached).not.toBeNull());
}

/** Reads without pause until `signal` is aborted. Returns the versions and the codes of errors, in order. */
async function readUntil(node: CairnNode, signal: AbortSignal): Promise<(number | string | undefined)[]> {
  const found: (number | string | undefined)[] = [];
  for (let at = 0; !signal.aborted; at = (at + 7) % COUNT) {
    try {
      const document = await node.get(key(at), { stale: true });
      found.push(document && (JSON.parse(document.json) as { version: number }).version);
    } catch (error) {
      if (!isCairnError(error)) throw error;
      found.push(error.code);
    }
    await new Promise(setImmediate);
  }
  return found;
}

it("a joining node answers stale reads from the checkpoint that it restores, and none fails when its index takes over", async () => {
  const scene = await held();
  const [checkpoint] = scene.saved;
  const node = await scene.start("b");
  await attached(node);
  expect(node.phase).toBe("restoring");
  expect(await node.status()).toMatchObject({
    attached: { checkpoint: checkpoint?.name, txId: checkpoint?.txId },
    // Others rely on what a node reports of its own index.
    index: { txId: null, documents: null, bytes: null, chains: [] },
  });
  await expect(node.get(key(1))).rejects.toMatchObject({ code: "NOT_READY" });
  const stale = { stale: true };
  expect((await node.list({ bucket: "pods", ...stale, limit: 10 })).txId).toBe(checkpoint?.txId);
  expect((await node.history(key(1), stale)).versions).toHaveLength(1);
  expect((await node.buckets(stale)).buckets).toMatchObject([{ name: "pods", documents: COUNT }]);
  expect(await node.get({ ...key(1), name: "absent" }, stale)).toBeUndefined();
  await expect(node.digest(stale)).rejects.toMatchObject({ code: "NOT_READY" });
  const { requests } = (await node.status()).attached ?? { requests: 0 };
  expect(requests).toBeGreaterThan(0);
  const reading = new AbortController();
  const reads = readUntil(node, reading.signal);
  scene.release();
  await node.ready;
  reading.abort();
  expect(new Set(await reads)).toEqual(new Set([1]));
  expect((await node.status()).attached).toBeNull();
});

it("a joining node answers stale reads before it has reserved the checkpoint", async () => {
  const scene = await held();
  const gate = new EventEmitter();
  const reserving = once(gate, "open");
  scene.faults.before = async ({ method, name }) => {
    if (method === "create" && name.startsWith("reservations/")) await reserving;
  };
  const node = await scene.start("b");
  await attached(node);
  expect((await node.get(key(1), { stale: true }))?.revision).toBeGreaterThan(0);
  gate.emit("open");
  await node.ready;
});

it("an attached node answers from the files that have arrived", async () => {
  const scene = await held();
  let requests = 0;
  let isVerifying = false;
  const gate = new EventEmitter();
  const before = scene.faults.before;
  scene.faults.before = async (call) => {
    await before?.(call);
    if (call.method === "readRange" && isVerifying) requests += 1;
  };
  const system = scene.system("b");
  const { kvProvider } = system;
  // Every file is there, and the restore waits.
  const open: KvProvider["open"] = async (...given) => {
    isVerifying = true;
    await once(gate, "open");
    return await kvProvider.open(...given);
  };
  const node = await scene.start({ ...system, kvProvider: { ...kvProvider, open } });
  await attached(node);
  scene.release();
  await vi.waitFor(() => expect(isVerifying).toBe(true));
  for (let at = 0; at < COUNT; at += 10)
    expect((await node.get(key(at), { stale: true }))?.revision).toBeGreaterThan(0);
  expect(requests).toBe(0);
  const opening = setInterval(() => gate.emit("open"), 1);
  await node.ready;
  clearInterval(opening);
});

it("no read is older than one before it, although the checkpoint to which a node is attached is refused", async () => {
  const scene = await held(2);
  const [older, newer] = scene.saved;
  // The last file of the archive, which is read last.
  const archive = path.join(scene.folder, "checkpoints", `${newer?.name}.tar`);
  const bytes = await readFile(archive);
  const node = await scene.start("b");
  await attached(node);
  const reading = new AbortController();
  const reads = readUntil(node, reading.signal);
  await node.get(key(1), { stale: true });
  const at = bytes.length - 2048 - 512;
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  await writeFile(archive, bytes);
  scene.release();
  await node.ready;
  reading.abort();
  expect((await node.status()).join.restoredFrom?.name).toBe(older?.name);
  const found = await reads;
  expect(new Set(found)).toEqual(new Set([2, "NOT_READY"]));
});

it("a damaged block is never served: the read is refused, and the node joins from another checkpoint", async () => {
  const scene = await held(2);
  const [older, newer] = scene.saved;
  const archive = path.join(scene.folder, "checkpoints", `${newer?.name}.tar`);
  const bytes = await readFile(archive);
  // What comes first are tables; opening reads only the manifest and the logs.
  for (let at = 700; at < bytes.length / 2; at += 512) bytes[at] = (bytes[at] ?? 0) ^ 1;
  await writeFile(archive, bytes);
  const node = await scene.start("b");
  await vi.waitFor(async () => {
    const { log } = await node.status();
    expect(log.reachable).toBe(true);
  });
  const found = new Set<unknown>();
  for (let at = 0; at < COUNT; at += 5) {
    const read = await node.get(key(at), { stale: true }).catch((error: unknown) => error);
    found.add(isCairnError(read) ? read.code : read);
  }
  expect([...found].filter((one) => one !== "NOT_READY")).toEqual([]);
  scene.release();
  await node.ready;
  expect((await node.status()).join.restoredFrom?.name).toBe(older?.name);
});

it("with attach off, from a compressed archive or from a store without ranges, a node only restores, and says why once", async () => {
  const scene = await held();
  const notices = async (parts: Partial<System>, store: CheckpointStore): Promise<string[]> => {
    const lines: string[] = [];
    const logger = pino({ level: "info" }, { write: (line: string) => void lines.push(line) });
    const node = await scene.start({ ...scene.system("c", { store }), ...parts }, { logger });
    await vi.waitFor(async () => expect((await node.status()).log.reachable).toBe(true));
    await expect(node.get(key(1), { stale: true })).rejects.toMatchObject({ code: "NOT_READY" });
    await vi.waitFor(() => expect(opened).toBe(true));
    await node.close();
    opened = false;
    return lines.filter((line) => line.includes("no reads are served until"));
  };
  // The archive is being opened, which is later than the decision to attach.
  let opened = false;
  const { before } = scene.faults;
  scene.faults.before = async (call) => {
    if (call.method === "open") opened = true;
    await before?.(call);
  };
  expect(await notices({ attach: false }, scene.store)).toEqual([]);
  const { openRanges: _, ...whole } = scene.store;
  expect(await notices({}, whole)).toHaveLength(1);
});

it("a store that fails, or does not answer, while a node is attached costs no more than these reads", async () => {
  const scene = await held();
  const node = await scene.start("b");
  await attached(node);
  await node.get(key(1), { stale: true });
  scene.faults.fail = ({ method }) => (method === "readRange" ? unreachable() : undefined);
  const refused = new Set<unknown>();
  for (let at = 0; at < COUNT; at += 3)
    await node
      .get(key(at), { stale: true })
      .catch((error: unknown) => void refused.add((error as { code?: string }).code));
  expect([...refused]).toEqual(["NOT_READY"]);
  delete scene.faults.fail;
  expect(await node.get(key(599), { stale: true })).toBeDefined();
  scene.release();
  await node.ready;
  expect(await node.status()).toMatchObject({ join: { skipped: [] }, attached: null });
});

/** Lets no later read of a range end. */
function hangReads({ faults }: Awaited<ReturnType<typeof held>>): void {
  const { before } = faults;
  faults.before = async (call) => {
    await before?.(call);
    if (call.method === "readRange") await new Promise(() => {});
  };
}

it("a read that waits for a store that does not answer ends in its time", async () => {
  const scene = await held();
  const node = await scene.start("b");
  await attached(node);
  hangReads(scene);
  const options = { stale: true, timeoutMs: 50 };
  const refused = { code: "NOT_READY", cause: { code: "STORE_UNREACHABLE" } };
  await expect(node.get(key(300), options)).rejects.toMatchObject(refused);
  await expect(node.history(key(300), options)).rejects.toMatchObject(refused);
  await expect(node.list({ bucket: "pods", ...options })).rejects.toMatchObject(refused);
});

it("a node that is attached to a store that does not answer stops at once", async () => {
  const scene = await held();
  const node = await scene.start("b");
  await attached(node);
  hangReads(scene);
  const reads = Promise.allSettled([1, 200, 599].map(async (at) => await node.get(key(at), { stale: true })));
  await node.close();
  for (const read of await reads)
    expect(read).toMatchObject({ status: "rejected", reason: { code: "NOT_READY" } });
});

it("a read that is running when the restored index takes over ends as of the checkpoint", async () => {
  const scene = await held();
  const node = await scene.start("b");
  await attached(node);
  const gate = new EventEmitter();
  const { before } = scene.faults;
  let waiting = 0;
  scene.faults.before = async (call) => {
    await before?.(call);
    if (call.method !== "readRange") return;
    waiting += 1;
    await once(gate, "read");
  };
  const reads = [1, 300, 599].map(async (at) => await node.get(key(at), { stale: true }));
  const list = node.list({ bucket: "pods", stale: true, limit: 500 });
  await vi.waitFor(() => expect(waiting).toBeGreaterThan(0));
  scene.release();
  await node.ready;
  const opening = setInterval(() => gate.emit("read"), 1);
  onTestFinished(() => clearInterval(opening));
  expect((await Promise.all(reads)).every((document) => document !== undefined)).toBe(true);
  expect((await list).documents).toHaveLength(500);
});
