import { access, mkdir, readdir, symlink } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import { unpackArchive } from "../../src/archive/unpack/unpack.ts";
import { filesystemStore } from "../../src/index.ts";
import { forgeArchive, type ForgedEntry, manifestOf, streamOf } from "../support/archives.ts";
import { contentsOf, digestsOf, temporaryDirectory } from "@cairn/test-support/stores/places";

const FILES = {
  "000001.ldb": Buffer.alloc(40_000, "one "),
  "000002.ldb": Buffer.alloc(70_001, "two "),
  CURRENT: Buffer.from("MANIFEST-000003\n"),
  LOG: Buffer.alloc(0),
};
const ENTRIES: ForgedEntry[] = Object.entries(FILES).map(([path, content]) => ({ path, content }));

/** Unpacks an archive of `entries`. The manifest has the archive's length, so that only the content can be wrong. */
async function unpackForged(entries: readonly ForgedEntry[], threads: boolean): Promise<string> {
  const dir = join(await temporaryDirectory(), "out");
  const archive = forgeArchive(entries);
  await unpackArchive(streamOf(archive), dir, manifestOf(archive, FILES), { threads });
  return dir;
}

const [FIRST = { path: "" }] = ENTRIES;
const REFUSED: readonly (readonly [what: string, entries: readonly ForgedEntry[]])[] = [
  ["a file that the manifest does not name", [...ENTRIES, { path: "000009.ldb", content: Buffer.from("x") }]],
  ["a file twice", [...ENTRIES, FIRST]],
  ["a path that leads outside", [...ENTRIES, { path: "../escape", content: Buffer.from("x") }]],
  ["an absolute path", [...ENTRIES, { path: "/tmp/escape", content: Buffer.from("x") }]],
  ["a folder", [{ path: "folder/", type: "Directory" }, ...ENTRIES]],
  ["a file in a folder", [...ENTRIES, { path: "folder/CURRENT", content: Buffer.from("x") }]],
  [
    "a symbolic link in a file's place",
    [...ENTRIES.slice(1), { path: "000001.ldb", type: "SymbolicLink", linkpath: "/etc/passwd" }],
  ],
  [
    "a hard link in a file's place",
    [...ENTRIES.slice(1), { path: "000001.ldb", type: "Link", linkpath: "CURRENT" }],
  ],
  ["a device", [...ENTRIES, { path: "device", type: "CharacterDevice" }]],
  [
    "an extended header that renames",
    [{ path: "x", type: "ExtendedHeader", content: Buffer.from("18 path=../escape\n") }, ...ENTRIES],
  ],
  [
    "a file that is longer than its entry in the manifest",
    [{ path: "000001.ldb", content: Buffer.alloc(40_001, "one ") }, ...ENTRIES.slice(1)],
  ],
  [
    "a file with other bytes",
    [{ path: "000001.ldb", content: Buffer.alloc(40_000, "eno ") }, ...ENTRIES.slice(1)],
  ],
  [
    "two files with swapped names",
    [
      { path: "CURRENT", content: FILES.LOG },
      { path: "LOG", content: FILES.CURRENT },
      ...ENTRIES.slice(0, 2),
    ],
  ],
];
/** Those that are also unpacked on threads in the first tier. */
const REFUSED_ON_THREADS = REFUSED.filter(([what]) =>
  ["a path that leads outside", "a file with other bytes", "a file twice"].includes(what),
);

async function expectRefused(entries: readonly ForgedEntry[], threads: boolean): Promise<void> {
  await expect(unpackForged(entries, threads)).rejects.toMatchObject({ code: "CHECKPOINT_CORRUPT" });
}

/** Changes one byte, which is 0 and part of no file, and expects that to be found. */
async function expectFound(places: readonly number[], threads: boolean): Promise<void> {
  const archive = forgeArchive(ENTRIES);
  const manifest = manifestOf(archive, FILES);
  expect(places.map((at) => archive[at])).toEqual(places.map(() => 0));
  for (const at of places) {
    const spoiled = Buffer.from(archive);
    spoiled[at] = 1;
    const unpacked = unpackArchive(streamOf(spoiled), join(await temporaryDirectory(), "out"), manifest, {
      threads,
    });
    await expect(unpacked).rejects.toMatchObject({ code: "CHECKPOINT_CORRUPT" });
  }
}

/** Expects the archive to be incomplete when it ends after each of these numbers of bytes. */
async function expectIncomplete(lengths: readonly number[], threads: boolean): Promise<void> {
  const dir = await temporaryDirectory();
  const archive = forgeArchive(ENTRIES);
  const manifest = manifestOf(archive, FILES);
  for (const length of lengths) {
    const cut = unpackArchive(streamOf(archive.subarray(0, length)), join(dir, String(length)), manifest, {
      threads,
    });
    await expect(cut).rejects.toMatchObject({ code: "CHECKPOINT_INCOMPLETE" });
  }
}

/** Changes bytes at random, and expects the archive to be unpacked correctly or refused. */
async function expectSafe({ threads, numRuns }: { threads: boolean; numRuns: number }): Promise<void> {
  const dir = await temporaryDirectory();
  const archive = forgeArchive(ENTRIES);
  const position = fc.integer({ min: 0, max: archive.length - 1 });
  const damage = fc.oneof(
    fc.record({ kind: fc.constant("flip" as const), at: position, bit: fc.integer({ min: 0, max: 7 }) }),
    fc.record({ kind: fc.constant("cut" as const), at: position }),
    fc.record({ kind: fc.constant("insert" as const), at: position }),
    fc.record({ kind: fc.constant("zero" as const), at: position }),
    fc.record({ kind: fc.constant("swap" as const), at: position, with: position }),
  );
  let round = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(damage, { minLength: 1, maxLength: 3 }), async (damages) => {
      round += 1;
      const out = join(dir, String(round));
      const spoiled = damages.reduce((bytes, one) => spoil(bytes, one), archive);
      const same = spoiled.equals(archive);
      // In every second round, the manifest has the digest of the changed archive, so the digests of the files must
      // differ.
      const manifest = round % 2 === 0 ? manifestOf(spoiled, FILES) : manifestOf(archive, FILES);
      try {
        await unpackArchive(streamOf(spoiled, 4096), out, manifest, { threads });
      } catch (error) {
        expect(same).toBe(false);
        expect(error).toMatchObject({ code: expect.stringMatching(/^CHECKPOINT_(CORRUPT|INCOMPLETE)$/) });
        return;
      }
      expect(await contentsOf(out)).toEqual(digestsOf(FILES));
    }),
    { numRuns },
  );
  await expect(access(join(dir, "..", "escape"))).rejects.toMatchObject({ code: "ENOENT" });
}

describe.each([false, true])("on worker threads: %s;", (threads) => {
  test("an archive made by another tar program is unpacked, in any order", async () => {
    expect(await contentsOf(await unpackForged(ENTRIES, threads))).toEqual(digestsOf(FILES));
    expect(await contentsOf(await unpackForged(ENTRIES.toReversed(), threads))).toEqual(digestsOf(FILES));
  });

  test.each(threads ? REFUSED_ON_THREADS : REFUSED)("%s in an archive is refused", async (_what, entries) => {
    await expectRefused(entries, threads);
  });

  test("the error for a missing file names it", async () => {
    const unpacked = unpackForged(ENTRIES.slice(1), threads);
    await expect(unpacked).rejects.toMatchObject({ code: "CHECKPOINT_INCOMPLETE" });
    await expect(unpacked).rejects.toThrow("000001.ldb is not in its archive");
  });

  test("a changed byte between the files is found, although every file is correct", async () => {
    const { length } = forgeArchive(ENTRIES);
    const [padding, header, end] = [512 + 40_000, 512 + 40_448 + 300, length - 600];
    const others = [512 + 40_447, length - 1024 + 150, length - 1];
    await expectFound([padding, header, end, ...(threads ? [] : others)], threads);
  });

  test("an archive that ends early is incomplete, wherever it ends", async () => {
    const { length } = forgeArchive(ENTRIES);
    const others = [1, 511, 513, 40_000, length - 1025, length - 1];
    await expectIncomplete([0, 512, length - 1024, ...(threads ? [] : others)], threads);
  });

  test("nothing beyond the manifest's list is written, however much the store sends", async () => {
    const dir = join(await temporaryDirectory(), "out");
    const archive = forgeArchive([...ENTRIES, { path: "000009.ldb", content: Buffer.alloc(5_000_000) }]);
    const manifest = manifestOf(forgeArchive(ENTRIES), FILES);
    await expect(unpackArchive(streamOf(archive), dir, manifest, { threads })).rejects.toMatchObject({
      code: "CHECKPOINT_CORRUPT",
    });
    const allowed = Object.values(FILES).reduce((sum, file) => sum + file.length, 0);
    const written = await contentsOf(dir);
    expect(Object.keys(written)).not.toContain("000009.ldb");
    expect(allowed).toBeLessThan(5_000_000);
  });

  test("an endless archive is read only to the end of the manifest", async () => {
    const dir = join(await temporaryDirectory(), "out");
    const archive = forgeArchive(ENTRIES);
    let sent = 0;
    const endless = new Readable({
      read() {
        sent += 1;
        this.push(sent === 1 ? archive : Buffer.alloc(65_536));
      },
    });
    const unpacking = unpackArchive(endless, dir, manifestOf(archive, FILES), { threads });
    await expect(unpacking).rejects.toMatchObject({ code: "CHECKPOINT_CORRUPT" });
    // On threads, more pieces may be in flight.
    expect(sent).toBeLessThan(threads ? 50 : 10);
  });

  test("a compressed archive that exceeds the manifest is unpacked only up to the first extra file", async () => {
    const dir = join(await temporaryDirectory(), "out");
    const bomb = gzipSync(forgeArchive([...ENTRIES, { path: "bomb", content: Buffer.alloc(50_000_000) }]));
    const manifest = manifestOf(bomb, FILES);
    const compressed = { ...manifest, format: { ...manifest.format, archive: "tar+gzip/1" } };
    await expect(unpackArchive(streamOf(bomb), dir, compressed, { threads })).rejects.toMatchObject({
      code: "CHECKPOINT_CORRUPT",
    });
    expect(await readdir(dir)).not.toContain("bomb");
  });

  test("an uncompressed archive that is declared compressed is refused", async () => {
    const dir = join(await temporaryDirectory(), "out");
    const archive = forgeArchive(ENTRIES);
    const manifest = manifestOf(archive, FILES);
    const compressed = { ...manifest, format: { ...manifest.format, archive: "tar+gzip/1" } };
    await expect(unpackArchive(streamOf(archive), dir, compressed, { threads })).rejects.toMatchObject({
      code: "CHECKPOINT_CORRUPT",
    });
  });

  test("bytes that arrive are progress, even before a file is complete", async () => {
    const archive = forgeArchive(ENTRIES);
    const source = new Readable({ read: () => undefined });
    const seen: number[] = [];
    const options = { threads, onProgress: (bytes: number): void => void seen.push(bytes) };
    const dir = join(await temporaryDirectory(), "out");
    const unpacking = unpackArchive(source, dir, manifestOf(archive, FILES), options);
    for (const end of [1_000, 2_000, archive.length]) {
      source.push(archive.subarray(seen.at(-1) ?? 0, end));
      await vi.waitFor(() => expect(seen.at(-1)).toBe(end));
    }
    source.push(null);
    await unpacking;
    expect(seen).toEqual([1_000, 2_000, archive.length]);
  });

  test("unpacking that is aborted ends with the signal's reason, and releases the stream", async () => {
    const dir = join(await temporaryDirectory(), "out");
    const archive = forgeArchive(ENTRIES);
    const stop = new AbortController();
    const source = streamOf(archive);
    const unpacking = unpackArchive(source, dir, manifestOf(archive, FILES), {
      threads,
      signal: stop.signal,
      onProgress: () => stop.abort(new Error("enough")),
    });
    await expect(unpacking).rejects.toThrow("enough");
    expect(source.destroyed).toBe(true);
  });

  test("an archive with any change to its bytes is unpacked correctly or refused", async () => {
    await expectSafe({ threads, numRuns: threads ? 5 : 40 });
  });
});

describe("on worker threads, with more rounds;", { tags: "rest/slow" }, () => {
  test.each(REFUSED)("%s in an archive is refused", async (_what, entries) => {
    await expectRefused(entries, true);
  });

  test("a changed byte between the files is found, wherever it is", async () => {
    const { length } = forgeArchive(ENTRIES);
    await expectFound([512 + 40_447, length - 1024 + 150, length - 1], true);
  });

  test("an archive that ends early is incomplete, wherever it ends", async () => {
    const { length } = forgeArchive(ENTRIES);
    await expectIncomplete([1, 511, 513, 40_000, length - 1025, length - 1], true);
  });

  test.each([
    [false, 150],
    [true, 30],
  ])(
    "an archive with any change to its bytes is unpacked correctly or refused, threads: %s",
    async (threads, numRuns) => {
      await expectSafe({ threads, numRuns });
    },
  );
});

test(
  "a local file is read without its stream, and unpacked correctly or refused",
  { tags: "rest/slow" },
  async () => {
    const dir = await temporaryDirectory();
    const files = {
      ...FILES,
      "000005.ldb": Buffer.alloc(9_000_001, "large "),
      "000009.ldb": Buffer.alloc(4_194_304, "4"),
    };
    const archive = forgeArchive(Object.entries(files).map(([path, content]) => ({ path, content })));
    const manifest = manifestOf(archive, files);
    const damaged = Buffer.from(archive);
    damaged.writeUInt8(damaged.readUInt8(5_000_000) ^ 4, 5_000_000);
    const store = filesystemStore({ path: join(dir, "store") });
    for (const [name, content] of Object.entries({
      whole: archive,
      damaged,
      cut: archive.subarray(0, -9_000_000),
    }))
      await store.upload(name, streamOf(content, 100_000));
    const opened = await store.open("whole");
    expect(opened.file).toBeTypeOf("number");
    await unpackArchive(opened, join(dir, "out"), manifest, { threads: true });
    expect(opened.destroyed).toBe(true);
    expect(await contentsOf(join(dir, "out"))).toEqual(digestsOf(files));
    const unpack = async (name: string): Promise<void> =>
      unpackArchive(await store.open(name), join(dir, `out-${name}`), manifest, { threads: true });
    await expect(unpack("damaged")).rejects.toMatchObject({ code: "CHECKPOINT_CORRUPT" });
    await expect(unpack("cut")).rejects.toMatchObject({ code: "CHECKPOINT_INCOMPLETE" });
  },
);

/** Things in place of an archive that can be opened, but fail as an archive on a failing volume does when it is read. */
const UNREADABLE: [string, (path: string) => Promise<unknown>][] = [
  ["EIO", (path) => symlink("/proc/self/mem", path)],
  ["EISDIR", (path) => mkdir(path)],
];

describe.each(["tar/1", "tar+gzip/1"])("in the format %s,", (format) => {
  test.each(UNREADABLE)(
    "the error %s of reading a local file is the store's, and names the store instead of the folder of the index",
    async (errno, put) => {
      const dir = await temporaryDirectory();
      const store = filesystemStore({ path: join(dir, "store") });
      await mkdir(join(dir, "store"));
      await put(join(dir, "store", "a.tar"));
      const manifest = manifestOf(forgeArchive(ENTRIES), FILES);
      const formatted = { ...manifest, format: { ...manifest.format, archive: format } };
      const unpacking = unpackArchive(await store.open("a.tar"), join(dir, "out"), formatted, {
        threads: true,
      });
      await expect(unpacking).rejects.toMatchObject({
        code: "STORE_UNREACHABLE",
        message: expect.stringMatching(`^The checkpoint store ${store.location} .* reading a.tar: ${errno}`),
        cause: { code: errno },
      });
    },
  );
});

type Damage = { kind: string; at: number; bit?: number; with?: number };

function spoil(bytes: Buffer, { kind, at, bit = 0, with: other = 0 }: Damage): Buffer {
  if (kind === "cut") return bytes.subarray(0, at);
  if (kind === "insert")
    return Buffer.concat([bytes.subarray(0, at), Buffer.alloc(512, 1), bytes.subarray(at)]);
  const spoiled = Buffer.from(bytes);
  if (at >= spoiled.length || other >= spoiled.length) return spoiled;
  if (kind === "zero") spoiled.fill(0, at, Math.min(at + 4096, spoiled.length));
  else if (kind === "flip") spoiled[at] = (spoiled[at] ?? 0) ^ (1 << bit);
  else if (kind === "swap") {
    const block = Buffer.from(spoiled.subarray(at, at + 512));
    spoiled.copyWithin(at, other, other + 512);
    block.copy(spoiled, other);
  }
  return spoiled;
}

test.each([false, true])(
  "a stream that ends early without an error is the store's (threads: %s)",
  async (threads) => {
    const archive = forgeArchive(ENTRIES);
    const manifest = manifestOf(archive, FILES);
    const dir = join(await temporaryDirectory(), "out");
    let isBegun = false;
    const content = new Readable({
      read() {
        if (isBegun) this.destroy();
        else this.push(archive.subarray(0, 1_000));
        isBegun = true;
      },
    });
    await expect(unpackArchive(content, dir, manifest, { threads })).rejects.toMatchObject({
      code: "STORE_UNREACHABLE",
      message: `The stream of ${manifest.archive.name} ended early.`,
    });
  },
);
