import { copyFile, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { type CheckpointStore, encryptedStore, type StoreEncryption } from "@cairn/checkpoint";
import { encryptionWith, newIdentity } from "@cairn/checkpoint/testing";
import { afterEach, beforeEach, expect, test } from "vitest";
import { verifyBackup } from "../../src/backup/backup-beginning.ts";
import { readSegment } from "../../src/backup/segments/read-segment.ts";
import { verifySegments } from "../../src/backup/write/verify-backup.ts";
import { BackupScene, noMemory } from "@cairn/test-support/nodes/backup-scene";

let scene: BackupScene;
let keys: StoreEncryption;
let store: CheckpointStore;

beforeEach(async () => {
  scene = await BackupScene.open();
  keys = await encryptionWith(scene.folder, [newIdentity()]);
  store = encryptedStore(scene.store, keys);
});

afterEach(() => scene.close());

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
  const next = await encryptionWith(scene.folder, [newIdentity()]);
  const both = {
    ...next,
    identities: [...next.identities, ...keys.identities],
    macKeys: [...next.macKeys, ...keys.macKeys],
  };
  await scene.look({ store: encryptedStore(scene.store, both) });
  const codes: string[] = [];
  const { signal } = new AbortController();
  await verifyBackup(
    { store: encryptedStore(scene.store, next), logId: scene.logId, log: scene.log, checkpoints: [], signal },
    async ({ error }) => void codes.push(error.code),
  );
  expect(codes).toEqual(["PLAIN_REFUSED", "KEY_MISSING"]);
});
