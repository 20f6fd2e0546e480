import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";

/** Creates a directory that is removed at the end of the test. */
export async function temporaryDirectory(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "cairn-checkpoint-"));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

/** Returns the digests of a directory's files, for comparisons: comparing large buffers byte by byte takes seconds. */
export async function contentsOf(dir: string): Promise<Record<string, string>> {
  const found: Record<string, Buffer> = {};
  for (const name of (await readdir(dir)).toSorted()) found[name] = await readFile(join(dir, name));
  return digestsOf(found);
}

/** Returns the digests of files, to compare with {@link contentsOf}. */
export function digestsOf(files: Record<string, Uint8Array>): Record<string, string> {
  const entries = Object.entries(files).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(
    entries.map(([name, content]) => [name, createHash("sha256").update(content).digest("hex")]),
  );
}

/** Files of many sizes around the block and chunk sizes of archives. */
export function someFiles(seed = 0): Record<string, Buffer> {
  const sizes = [0, 1, 511, 512, 513, 70_000, 1_048_576 - 512, 1_048_576, 1_048_577];
  return Object.fromEntries(sizes.map((size, at) => [`0000${at}.ldb`, Buffer.alloc(size, `${seed}-${at}-`)]));
}

/** Creates a directory and writes files to it. */
export async function writeFiles(dir: string, files: Record<string, Uint8Array>): Promise<void> {
  await mkdir(dir, { recursive: true });
  for (const [name, content] of Object.entries(files)) await writeFile(join(dir, name), content);
}
