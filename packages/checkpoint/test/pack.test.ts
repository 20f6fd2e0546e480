import { execFileSync } from "node:child_process";
import { mkdir, symlink, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { expect, test } from "vitest";
import { packDirectory, unpackArchive } from "../src/index.ts";
import { archiveSize } from "../src/tar-format.ts";
import { manifestOf, sha256, streamOf } from "./support/archives.ts";
import { contentsOf, digestsOf, someFiles, temporaryDirectory, writeFiles } from "./support/places.ts";

test("the archive is a plain tar that tar itself unpacks", async () => {
  const dir = await temporaryDirectory();
  await writeFiles(join(dir, "in"), someFiles());
  await writeFile(join(dir, "a.tar"), packDirectory(join(dir, "in")).archive);
  await mkdir(join(dir, "out"));
  execFileSync("tar", ["xf", join(dir, "a.tar"), "-C", join(dir, "out")]);
  expect(await contentsOf(join(dir, "out"))).toEqual(digestsOf(someFiles()));
});

test("the result says what is in the archive", async () => {
  const dir = await temporaryDirectory();
  await writeFiles(join(dir, "in"), someFiles());
  const packing = packDirectory(join(dir, "in"));
  const archive = await buffer(packing.archive);
  const { files, ...rest } = packing.result();
  expect(rest).toEqual({ bytes: archive.length, sha256: sha256(archive) });
  expect(Object.fromEntries(files.map((file) => [file.name, file.sha256]))).toEqual(digestsOf(someFiles()));
});

test("equal directories give equal archives, whenever and in whatever order they were written", async () => {
  const dir = await temporaryDirectory();
  const files = someFiles();
  await writeFiles(join(dir, "a"), files);
  await writeFiles(join(dir, "b"), Object.fromEntries(Object.entries(files).toReversed()));
  const [a, b] = await Promise.all(["a", "b"].map((name) => buffer(packDirectory(join(dir, name)).archive)));
  expect(a?.equals(b ?? Buffer.alloc(0))).toBe(true);
});

test.each(["none", "gzip"] as const)(
  "a file larger than what is held whole survives, compression %s",
  async (compression) => {
    const dir = await temporaryDirectory();
    const files = { "000001.ldb": Buffer.alloc(9_000_001, "large "), CURRENT: Buffer.from("x") };
    await writeFiles(join(dir, "in"), files);
    const packing = packDirectory(join(dir, "in"), { compression });
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
  await buffer(packDirectory(join(dir, "in"), { onProgress: (bytes) => seen.push(bytes) }).archive);
  const total = archiveSize(Object.values(someFiles()).map((file) => ({ bytes: file.length })));
  expect(seen.at(-1)).toBe(total);
  expect(seen).toEqual(seen.toSorted((a, b) => a - b));
});

test("a folder, a symbolic link or a name that is not plain ends packing", async () => {
  const dir = await temporaryDirectory();
  await mkdir(join(dir, "folder", "inner"), { recursive: true });
  await mkdir(join(dir, "link"));
  await symlink("/etc/passwd", join(dir, "link", "CURRENT"));
  await writeFiles(join(dir, "name"), { "a b": Buffer.from("x") });
  await writeFiles(join(dir, "long"), { ["a".repeat(101)]: Buffer.from("x") });
  for (const name of ["folder", "link", "name", "long"]) {
    const packing = packDirectory(join(dir, name));
    await expect(buffer(packing.archive)).rejects.toMatchObject({ code: "CHECKPOINT_CORRUPT" });
  }
});

test("a file that becomes shorter meanwhile ends packing, and there is no result to publish", async () => {
  const dir = await temporaryDirectory();
  await writeFiles(dir, { "000001.ldb": Buffer.alloc(60_000_000) });
  const packing = packDirectory(dir);
  const reader = packing.archive[Symbol.asyncIterator]();
  await reader.next();
  await truncate(join(dir, "000001.ldb"), 4_000_000);
  const rest = (async () => {
    while ((await reader.next()).done !== true);
  })();
  await expect(rest).rejects.toMatchObject({ code: "CHECKPOINT_INCOMPLETE" });
  expect(() => packing.result()).toThrow(/not read to its end/);
});
