import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdir, open, readdir, readFile, readlink, rm, symlink, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { levelProvider } from "@cairn/kv";
import { describe, expect, onTestFinished, test } from "vitest";
import { packDirectory, type PackOptions } from "../../src/archive/pack/pack.ts";
import { archiveSize } from "../../src/archive/tar-format.ts";
import { recipientOf } from "../../src/encryption/x25519.ts";
import { unpackArchive } from "../../src/archive/unpack/unpack.ts";
import { manifestOf, streamOf } from "../support/archives.ts";
import {
  contentsOf,
  digestsOf,
  someFiles,
  temporaryDirectory,
  writeFiles,
} from "@cairn/test-support/stores/places";

function explainAsOwner(error: unknown): Error {
  return new Error("the owner says", { cause: error });
}

/** Returns the files below `dir` that this process has open. */
async function openBelow(dir: string): Promise<string[]> {
  const links = await Promise.all(
    (await readdir("/proc/self/fd")).map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => "")),
  );
  return links.filter((path) => path.startsWith(dir));
}

function refuseProgress(): void {
  throw new Error("nobody listens");
}

function explainNothing(error: unknown): unknown {
  return error;
}

async function archiveOf(dir: string, options: PackOptions): Promise<Buffer> {
  return buffer((await packDirectory(dir, options)).archive);
}

interface Form {
  readonly compression: "none" | "gzip";
  readonly encrypted: boolean;
}

const FORMS: readonly Form[] = [
  { compression: "none", encrypted: false },
  { compression: "gzip", encrypted: true },
];
const OTHER_FORMS: readonly Form[] = [
  { compression: "none", encrypted: true },
  { compression: "gzip", encrypted: false },
];

/** Abandons packing on either side, and expects no file to stay open. */
async function expectClosed(threads: boolean, { compression, encrypted }: Form): Promise<void> {
  const recipients = encrypted ? [recipientOf(randomBytes(32))] : undefined;
  const options = { threads, compression, ...(recipients === undefined ? {} : { recipients }) };
  const dir = await temporaryDirectory();
  const input = join(dir, "in");
  await writeFiles(input, { a: randomBytes(9_000_000), b: randomBytes(9_000_000) });
  const full = await open("/dev/full", "w");
  const file = await open(join(dir, "out"), "w");
  onTestFinished(async () => {
    await full.close();
    await file.close();
  });
  const toFull = (await packDirectory(input, options)).direct;
  const stop = new AbortController();
  const onProgress = (): void => stop.abort(new Error("enough"));
  const aborted = (await packDirectory(input, { ...options, onProgress })).direct;
  if (threads) {
    await expect(toFull?.writeTo(full.fd, { explain: explainAsOwner })).rejects.toThrow("the owner says");
    const writing = aborted?.writeTo(file.fd, { explain: explainNothing, signal: stop.signal });
    await expect(writing).rejects.toThrow("enough");
  }
  const { archive } = await packDirectory(input, options);
  for await (const _piece of archive) break;
  await expect.poll(() => openBelow(input)).toEqual([]);
}

describe.each([false, true])("on worker threads: %s;", (threads) => {
  test("the archive is a plain tar file that the tar command can unpack", async () => {
    const dir = await temporaryDirectory();
    await writeFiles(join(dir, "in"), someFiles());
    await writeFile(join(dir, "a.tar"), (await packDirectory(join(dir, "in"), { threads })).archive);
    await mkdir(join(dir, "out"));
    execFileSync("tar", ["xf", join(dir, "a.tar"), "-C", join(dir, "out")]);
    expect(await contentsOf(join(dir, "out"))).toEqual(digestsOf(someFiles()));
  });

  test("the result describes the content of the archive", async () => {
    const dir = await temporaryDirectory();
    await writeFiles(join(dir, "in"), someFiles());
    const packing = await packDirectory(join(dir, "in"), { threads });
    const archive = await buffer(packing.archive);
    const { files, ...rest } = packing.result();
    expect(rest).toEqual({ bytes: archive.length });
    expect(Object.fromEntries(files.map((file) => [file.name, file.sha256]))).toEqual(digestsOf(someFiles()));
  });

  test("equal directories give equal archives, regardless of when and in which order they were written", async () => {
    const dir = await temporaryDirectory();
    const files = someFiles();
    await writeFiles(join(dir, "a"), files);
    await writeFiles(join(dir, "b"), Object.fromEntries(Object.entries(files).toReversed()));
    const [a, b] = await Promise.all(["a", "b"].map((name) => archiveOf(join(dir, name), { threads })));
    expect(a?.equals(b ?? Buffer.alloc(0))).toBe(true);
  });

  test.each(["none", "gzip"] as const)(
    "a file larger than a piece is packed and unpacked unchanged, with compression %s",
    async (compression) => {
      const dir = await temporaryDirectory();
      const files = { "000001.ldb": Buffer.alloc(9_000_001, "large "), CURRENT: Buffer.from("x") };
      await writeFiles(join(dir, "in"), files);
      const packing = await packDirectory(join(dir, "in"), { compression, threads });
      const archive = await buffer(packing.archive);
      const manifest = manifestOf(archive, files);
      const format = { ...manifest.format, archive: compression === "gzip" ? "tar+gzip/1" : "tar/1" };
      if (compression === "gzip") expect(archive.length).toBeLessThan(100_000);
      await unpackArchive(streamOf(archive), join(dir, "out"), { ...manifest, format });
      expect(await contentsOf(join(dir, "out"))).toEqual(digestsOf(files));
    },
  );

  test("progress grows up to the size of the archive", async () => {
    const dir = await temporaryDirectory();
    await writeFiles(join(dir, "in"), someFiles());
    const seen: number[] = [];
    await archiveOf(join(dir, "in"), { threads, onProgress: (bytes) => seen.push(bytes) });
    const total = archiveSize(Object.values(someFiles()).map((file) => ({ bytes: file.length })));
    expect(seen.at(-1)).toBe(total);
    expect(seen).toEqual(seen.toSorted((a, b) => a - b));
  });

  test("packing fails at a folder, a symbolic link or a name that is not plain", async () => {
    const dir = await temporaryDirectory();
    await mkdir(join(dir, "folder", "inner"), { recursive: true });
    await mkdir(join(dir, "link"));
    await symlink("/etc/passwd", join(dir, "link", "CURRENT"));
    await writeFiles(join(dir, "name"), { "a b": Buffer.from("x") });
    await writeFiles(join(dir, "long"), { ["a".repeat(101)]: Buffer.from("x") });
    for (const name of ["folder", "link", "name", "long"]) {
      const packing = packDirectory(join(dir, name), { threads });
      await expect(packing).rejects.toMatchObject({ code: "CHECKPOINT_CORRUPT" });
    }
  });

  test("packing ends without a result to publish if a file becomes shorter in the meantime", async () => {
    const dir = await temporaryDirectory();
    await writeFiles(dir, { "000001.ldb": Buffer.alloc(60_000_000) });
    const packing = await packDirectory(dir, { threads });
    const reader = packing.archive[Symbol.asyncIterator]();
    await reader.next();
    await truncate(join(dir, "000001.ldb"), 4_000_000);
    const rest = (async () => {
      while ((await reader.next()).done !== true);
    })();
    await expect(rest).rejects.toMatchObject({ code: "CHECKPOINT_INCOMPLETE" });
    expect(() => packing.result()).toThrow(/not read to its end/);
  });

  test.each(FORMS)(
    "if packing is abandoned by either side, no file stays open, with $compression, encrypted: $encrypted",
    async (form) => {
      await expectClosed(threads, form);
    },
  );

  test.each(OTHER_FORMS)(
    "if packing is abandoned by either side, no file stays open, with $compression, encrypted: $encrypted",
    { tags: "rest/slow" },
    async (form) => {
      await expectClosed(threads, form);
    },
  );

  test("packing fails at a damaged table, but omits half a table that does not belong to the database", async () => {
    const dir = join(await temporaryDirectory(), "in");
    const store = await levelProvider().open(dir);
    for (let row = 0; row < 100; row++) {
      await store.batch([{ type: "put", key: Buffer.from(`row ${row}`), value: randomBytes(1000) }]);
    }
    await store.compact();
    await store.close();
    const table = (await readdir(dir)).find((name) => name.endsWith(".ldb")) ?? "";
    // An interrupted compaction leaves such a table behind.
    await writeFile(join(dir, "000999.ldb"), "half a table");
    const packing = await packDirectory(dir, { threads, tables: true });
    await buffer(packing.archive);
    const names = packing.result().files.map(({ name }) => name);
    expect(names).toContain(table);
    expect(names).not.toContain("000999.ldb");
    const damaged = await readFile(join(dir, table));
    damaged.writeUInt8(damaged.readUInt8(500) ^ 1, 500);
    await writeFile(join(dir, table), damaged);
    const archive = archiveOf(dir, { threads, tables: true });
    await expect(archive).rejects.toMatchObject({ code: "INDEX_CORRUPT" });
    await archiveOf(dir, { threads });
  });

  test("packing fails with a clear message if a file is removed before it is read", async () => {
    const dir = join(await temporaryDirectory(), "in");
    await writeFiles(dir, { a: randomBytes(40_000_000), b: Buffer.from("b") });
    const { archive } = await packDirectory(dir, { threads });
    const read = async (): Promise<void> => {
      for await (const _piece of archive) await rm(join(dir, "b"), { force: true });
    };
    await expect(read()).rejects.toMatchObject({
      code: "CHECKPOINT_INCOMPLETE",
      message: "b was removed while it was being packed.",
    });
  });

  test.each([/^CURRENT$/, /^MANIFEST/, /\.ldb$/])(
    "a database without its %s is not packed",
    async (pattern) => {
      const dir = join(await temporaryDirectory(), "in");
      const store = await levelProvider().open(dir);
      await store.batch([{ type: "put", key: Buffer.from("row"), value: randomBytes(1000) }]);
      await store.compact();
      await store.close();
      const removed = (await readdir(dir)).find((name) => pattern.test(name)) ?? "";
      await rm(join(dir, removed));
      const archive = archiveOf(dir, { threads, tables: true });
      await expect(archive).rejects.toMatchObject({ code: "CHECKPOINT_INCOMPLETE" });
    },
  );

  test("if a progress callback throws, packing or unpacking ends, but not the process", async () => {
    const dir = await temporaryDirectory();
    const files = { a: randomBytes(9_000_000) };
    await writeFiles(join(dir, "in"), files);
    const file = await open(join(dir, "out"), "w");
    onTestFinished(() => file.close());
    const { archive: refused, direct } = await packDirectory(join(dir, "in"), {
      threads,
      onProgress: refuseProgress,
    });
    const written = direct?.writeTo(file.fd, { explain: explainNothing }) ?? buffer(refused);
    await expect(written).rejects.toThrow("nobody listens");
    const archive = await archiveOf(join(dir, "in"), { threads });
    const unpacked = unpackArchive(streamOf(archive), join(dir, "back"), manifestOf(archive, files), {
      threads,
      onProgress: refuseProgress,
    });
    await expect(unpacked).rejects.toThrow("nobody listens");
  });
});

test("the archive that threads write to a file equals the one read from the stream", async () => {
  const dir = await temporaryDirectory();
  await writeFiles(join(dir, "in"), someFiles());
  for (const compression of ["none", "gzip"] as const) {
    const options = { threads: true, compression };
    const streamed = await archiveOf(join(dir, "in"), options);
    const packing = await packDirectory(join(dir, "in"), options);
    const file = await open(join(dir, compression), "w");
    expect(await packing.direct?.writeTo(file.fd, { explain: explainNothing })).toBe(streamed.length);
    await file.close();
    expect((await readFile(join(dir, compression))).equals(streamed)).toBe(true);
    expect(packing.result()).toMatchObject({ bytes: streamed.length });
  }
});

test("a small archive is written without threads, as a stream", async () => {
  const dir = await temporaryDirectory();
  await writeFiles(join(dir, "in"), someFiles());
  expect((await packDirectory(join(dir, "in"))).direct).toBeUndefined();
});

test("errors of the file are converted by the store that owns it, but errors of the content are not", async () => {
  const dir = await temporaryDirectory();
  await writeFiles(join(dir, "in"), someFiles());
  const full = await open("/dev/full", "w");
  const file = await open(join(dir, "out"), "w");
  onTestFinished(async () => {
    await full.close();
    await file.close();
  });
  const toFull = await packDirectory(join(dir, "in"), { threads: true });
  const refused = toFull.direct?.writeTo(full.fd, { explain: explainAsOwner });
  await expect(refused).rejects.toMatchObject({ message: "the owner says", cause: { code: "ENOSPC" } });
  expect(() => toFull.result()).toThrow(/not read to its end/);
  const removed = await packDirectory(join(dir, "in"), { threads: true });
  await rm(join(dir, "in", "00001.ldb"));
  const strange = removed.direct?.writeTo(file.fd, { explain: explainAsOwner });
  await expect(strange).rejects.toMatchObject({ code: "CHECKPOINT_INCOMPLETE" });
});

test(
  "aborted packing ends with the signal's reason, and writes nothing more",
  { tags: "rest/slow" },
  async () => {
    const dir = await temporaryDirectory();
    await writeFiles(join(dir, "in"), { a: Buffer.alloc(30_000_000), b: Buffer.alloc(30_000_000) });
    const file = await open(join(dir, "out"), "w");
    onTestFinished(() => file.close());
    const stop = new AbortController();
    const onProgress = (): void => stop.abort(new Error("enough"));
    const { direct } = await packDirectory(join(dir, "in"), { threads: true, onProgress });
    const writing = direct?.writeTo(file.fd, { explain: explainNothing, signal: stop.signal });
    await expect(writing).rejects.toThrow("enough");
    const { size } = await file.stat();
    expect(size).toBeLessThan(60_000_000);
    await archiveOf(join(dir, "in"), { threads: true });
    expect((await file.stat()).size).toBe(size);
  },
);

/** Returns what a program prints that packs a folder on threads, and is passed to `node` as text. */
async function printedByProgram(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<string> {
  const dir = await temporaryDirectory();
  await writeFiles(join(dir, "in"), someFiles());
  const program = `
    import { packDirectory } from ${JSON.stringify(new URL("../../dist/src/archive/pack/pack.js", import.meta.url).href)};
    import { buffer } from "node:stream/consumers";
    const packing = await packDirectory(${JSON.stringify(join(dir, "in"))}, { threads: true });
    const { length } = await buffer(packing.archive);
    console.log(length === packing.result().bytes);
  `;
  const options = { env: { ...process.env, ...env } };
  return execFileSync(process.execPath, [...args, "-e", program], options).toString();
}

test("a program that is passed on the command line can pack on threads", async () => {
  expect(await printedByProgram(["--input-type=module"])).toBe("true\n");
});

test.each(["--input-type=module", '"--input-type=module" --max-old-space-size=500'])(
  "a program that is passed on the command line can pack on threads, with NODE_OPTIONS %s",
  { tags: "rest/slow" },
  async (options) => {
    expect(await printedByProgram([], { NODE_OPTIONS: options })).toBe("true\n");
  },
);
