import { copyFile, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { type CheckpointStore, encryptedStore, type StoreEncryption } from "@cairn/checkpoint";
import { encryptionWith, newIdentity } from "@cairn/checkpoint/testing";
import type { CairnError } from "@cairn/kv";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { verifyBackup } from "../../src/backup/backup-beginning.ts";
import { furthestBackup } from "../../src/backup/furthest-backup.ts";
import { readSegment } from "../../src/backup/segments/read-segment.ts";
import { LogBackup } from "../../src/backup/write/log-backup.ts";
import { verifySegments } from "../../src/backup/write/verify-backup.ts";
import { BackupScene, noMemory } from "@cairn/test-support/nodes/backup-scene";
import { writeRuns } from "@cairn/test-support/nodes/trimmed-backup";

let scene: BackupScene;
let keys: StoreEncryption;
let store: CheckpointStore;

beforeEach(async () => {
  scene = await BackupScene.open();
  keys = await encryptionWith(scene.folder, [newIdentity()]);
  store = encryptedStore(scene.store, keys);
});

afterEach(() => scene.close());

/** The store with a second identity in the key file, and then without the first one. */
async function rotation(): Promise<{ readonly both: CheckpointStore; readonly next: CheckpointStore }> {
  const next = await encryptionWith(scene.folder, [newIdentity()]);
  const both = {
    ...next,
    identities: [...next.identities, ...keys.identities],
    macKeys: [...next.macKeys, ...keys.macKeys],
  };
  return { both: encryptedStore(scene.store, both), next: encryptedStore(scene.store, next) };
}

/** Appends messages until the log has as many as the bounds need, and writes a segment between each two of them. */
async function write(to: CheckpointStore, ...bounds: readonly number[]): Promise<void> {
  while ((await scene.log.bounds()).last < (bounds.at(-1) ?? 0) - 1) await scene.append("more");
  await writeRuns({ ...scene.target(), store: to }, ...bounds);
}

function backupIn(to: CheckpointStore, found: CairnError[] = []): LogBackup {
  const options = { every: 20, keep: "all", codec: "none" } as const;
  return new LogBackup({ ...scene.target(), store: to, options, onFinding: (error) => found.push(error) });
}

async function payloads(from: CheckpointStore): Promise<string[]> {
  const read: string[] = [];
  const log = scene.backup(from);
  for (let position = 1; position <= (await log.bounds()).last; position += 1)
    read.push(Buffer.from((await log.fetch(position))?.payload ?? []).toString("utf8"));
  return read;
}

async function codeOf(work: Promise<unknown>): Promise<unknown> {
  return await work.then(
    () => "none",
    (error: unknown) => (error as { code?: unknown }).code,
  );
}

test.each(["none", "gzip"] as const)(
  "segments of codec %s are encrypted, and read with the key alone",
  async (codec) => {
    await scene.append("the price of the sealed bid", "more of the sealed bid");
    const look = await scene.look({ store, codec });
    expect(look.written).toHaveLength(1);
    const [segment] = await scene.segments();
    if (segment === undefined) throw new Error("there is no segment");
    const stored = await readFile(scene.pathOf(segment.name), "latin1");
    for (const word of ["sealed bid", "embedded", '"node"', "cairn-segment"])
      expect(stored).not.toContain(word);
    expect((await payloads(store)).slice(1)).toEqual([
      "the price of the sealed bid",
      "more of the sealed bid",
    ]);
    const strange = encryptedStore(scene.store, await encryptionWith(scene.folder, [newIdentity()]));
    for (const other of [scene.store, strange])
      expect(await codeOf(readSegment(other, segment))).toBe("KEY_MISSING");
  },
);

test("merged segments are encrypted again, and the backup is verified", { tags: "rest/slow" }, async () => {
  for (let n = 0; n < 70; n += 1) {
    await scene.append(`secret ${n}`);
    await scene.look({ store });
  }
  const segments = await scene.segments();
  expect(segments.length).toBeLessThan(70);
  for (const { name } of segments)
    expect(await readFile(scene.pathOf(name), "latin1")).not.toMatch(/secret|cairn-segment/);
  expect((await payloads(store)).at(-1)).toBe("secret 69");
  const problems: unknown[] = [];
  const { signal } = new AbortController();
  const options = {
    store,
    logId: scene.logId,
    log: scene.log,
    checkpoints: [],
    signal,
    onProgress: () => undefined,
  };
  await verifySegments(options, async (problem) => void problems.push(problem));
  expect(problems).toEqual([]);
});

test("a changed, truncated, swapped or renamed segment is damaged", async () => {
  await scene.append("one");
  await scene.look({ store });
  await scene.append("two");
  await scene.look({ store });
  const [first, second] = await scene.segments();
  if (first === undefined || second === undefined) throw new Error("there are no segments");
  const file = scene.pathOf(second.name);
  const intact = await readFile(file);
  const headerEnd = intact.indexOf("\n");
  const macAt = intact.indexOf('"mac":"') + 10;
  for (const at of [
    macAt,
    intact.indexOf('"sha256":"') + 12,
    headerEnd + 5,
    headerEnd + 60,
    intact.length - 1,
  ]) {
    const changed = Buffer.from(intact);
    // Stays a hexadecimal digit in the header.
    changed[at] = at < headerEnd ? (intact[at] === 0x30 ? 0x31 : 0x30) : (intact[at] ?? 0) ^ 1;
    await writeFile(file, changed);
    expect(await codeOf(readSegment(store, second)), `byte ${at}`).toBe("SEGMENT_CORRUPT");
  }
  for (const content of [
    ...[0, 10, headerEnd + 1, intact.length - 1].map((length) => intact.subarray(0, length)),
    Buffer.alloc(intact.length),
  ]) {
    await writeFile(file, content);
    const there = { name: second.name, bytes: content.length };
    expect(await codeOf(readSegment(store, there)), `${content.length} bytes`).toBe("SEGMENT_CORRUPT");
  }
  await copyFile(scene.pathOf(first.name), file);
  expect(await codeOf(readSegment(store, { ...first, name: second.name }))).toBe("SEGMENT_CORRUPT");
});

test("a node without the key says so even if it has nothing to write, and writes nothing next to encrypted segments", async () => {
  await scene.append("one");
  await scene.look({ store });
  expect(await codeOf(scene.look({ memory: noMemory() }))).toBe("KEY_MISSING");
  await scene.append("two");
  expect(await codeOf(scene.look({ memory: noMemory() }))).toBe("KEY_MISSING");
  expect(await scene.segments()).toHaveLength(1);
});

test("plain segments are read only if they are accepted", async () => {
  await scene.append("one");
  await scene.look();
  const [segment] = await scene.segments();
  if (segment === undefined) throw new Error("there is no segment");
  expect(await codeOf(readSegment(store, segment))).toBe("PLAIN_REFUSED");
  const accepting = encryptedStore(scene.store, { ...keys, acceptPlain: true });
  expect(await codeOf(readSegment(accepting, segment))).toBe("none");
  expect(path.basename(segment.name)).toMatch(/\.segment$/);
});

test("a plain segment that nothing needs does not keep the others from being read", async () => {
  await scene.append("one");
  await scene.look();
  await scene.append("two");
  await scene.look({ store });
  const [plain, encrypted] = await scene.segments();
  if (plain === undefined || encrypted === undefined) throw new Error("there are no segments");
  const log = scene.backup(store);
  expect(await log.offset()).toBe(0);
  expect((await log.bounds()).last).toBe(encrypted.last);
  expect((await log.fetch(encrypted.last))?.payload.toString()).toBe("two");
  expect(await codeOf(log.fetch(plain.last))).toBe("PLAIN_REFUSED");
});

test("the check of a backup reports a segment without its key, or a plain one, but not as missing", async () => {
  await scene.append("one");
  await scene.look();
  await scene.append("two");
  const old = encryptedStore(scene.store, { ...keys, acceptPlain: true });
  await scene.look({ store: old });
  await scene.append("three");
  const { both, next } = await rotation();
  await scene.look({ store: both });
  const codes: string[] = [];
  const { signal } = new AbortController();
  await verifyBackup(
    { store: next, logId: scene.logId, log: scene.log, checkpoints: [], signal },
    async ({ error }) => void codes.push(error.code),
  );
  expect(codes).toEqual(["PLAIN_REFUSED", "KEY_MISSING"]);
});

test("segments of a dropped key are one finding, and damage in those after them is found", async () => {
  const { both, next } = await rotation();
  await write(store, 1, 3, 5);
  await write(both, 5, 7, 9, 11);
  const [first, second, , damaged] = await scene.segments();
  if (first === undefined || second === undefined || damaged === undefined) throw new Error("no segments");
  await writeFile(scene.pathOf(damaged.name), Buffer.alloc(damaged.bytes));
  const open = vi.spyOn(next, "open");
  const found: CairnError[] = [];
  const backup = backupIn(next, found);
  const { signal } = new AbortController();
  await backup.readAll(signal);
  await backup.readAll(signal);
  const codes = (): string[] => backup.status(10).warnings.map(({ code }) => code);
  expect(codes().toSorted()).toEqual(["KEY_MISSING", "SEGMENT_CORRUPT"]);
  expect(found.map(({ code }) => code)).toEqual(["KEY_MISSING", "SEGMENT_CORRUPT"]);
  expect(backup.status(10).warnings).toContainEqual({
    code: "KEY_MISSING",
    message: expect.stringContaining("from transaction 1 on, are encrypted with keys"),
    hint: expect.stringContaining("cairn log backup prune --through 4"),
  });
  expect(open.mock.calls.filter(([name]) => name === second.name)).toHaveLength(1);
  for (const { name } of [first, second, damaged]) await scene.store.remove(name);
  await backup.readAll(signal);
  expect(codes()).toEqual([]);
});

test("a backup is read as if segments of a dropped key had been removed, unless no key fits its end", async () => {
  const { both, next } = await rotation();
  await write(store, 1, 2, 3, 5);
  await write(both, 5, 7, 9);
  const { covered, last } = (await furthestBackup([next], scene.logId)) ?? {};
  expect({ covered, last }).toEqual({ covered: [{ first: 5, last: 8 }], last: 8 });
  const log = scene.backup(next);
  expect(await log.bounds()).toEqual({ first: 5, last: 8 });
  expect(await Promise.all([log.fetch(1), log.fetch(4)])).toEqual([undefined, undefined]);
  expect((await log.fetch(5))?.payload.toString()).toBe("more");
  await write(next, 9, 10);
  expect(await codeOf(scene.backup(store).fetch(9))).toBe("KEY_MISSING");
  const strange = encryptedStore(scene.store, await encryptionWith(scene.folder, [newIdentity()]));
  expect(await codeOf(furthestBackup([strange], scene.logId))).toBe("KEY_MISSING");
  // A damaged end says nothing about keys.
  const end = (await scene.segments()).at(-1);
  await writeFile(scene.pathOf(end?.name ?? ""), "torn");
  expect(await codeOf(furthestBackup([strange], scene.logId))).toBe("KEY_MISSING");
});

test("merges pass over segments of a dropped key, which are not missing", { tags: "rest/slow" }, async () => {
  const { both, next } = await rotation();
  await write(store, 1, 3);
  await write(both, ...Array.from({ length: 64 }, (_, at) => at + 3));
  await scene.log.trim?.(10);
  const backup = backupIn(next);
  backup.start();
  try {
    const codes = (): string[] => backup.status(66).warnings.map(({ code }) => code);
    await vi.waitFor(() => expect(codes()).toEqual(["KEY_MISSING"]), { timeout: 20_000 });
    await write(next, 66, 67);
    const isMerged = async (): Promise<void> => {
      expect(await scene.segments()).toHaveLength(2);
      expect(backup.status(66)).toMatchObject({ lastFailure: null, exposed: { transactions: 0 } });
    };
    await vi.waitFor(isMerged, { timeout: 20_000 });
    expect(codes()).toEqual(["KEY_MISSING"]);
  } finally {
    await backup.stop();
  }
});
