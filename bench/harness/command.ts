import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { randomUUID } from "node:crypto";
import { open, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";

/** Runs a program with `input` on its stdin, and waits until it exits. Throws if it is missing or fails. */
export async function run(
  command: string,
  args: readonly string[],
  input: Iterable<string> = [],
): Promise<void> {
  const child = spawn(command, args, { stdio: ["pipe", "ignore", "pipe"] });
  // A program that is missing or exits early is reported by its exit.
  pipeline(Readable.from(input), child.stdin).catch(() => undefined);
  const stderr: Buffer[] = [];
  child.stderr.on("data", (chunk: Buffer) => stderr.push(chunk));
  const [code] = (await once(child, "close")) as [number | null];
  if (code === 0) return;
  throw new Error(`${command} ${args.join(" ")}: ${Buffer.concat(stderr).toString("utf8").trim()}`);
}

/** Returns whether a program is installed, that is, whether it succeeds with these arguments. */
export function succeeds(command: string, args: readonly string[]): boolean {
  return spawnSync(command, args, { stdio: "ignore" }).status === 0;
}

const TOUCH_MIB = 1_024;

/** Flushes everything written so far to the disk, so that no run pays for an earlier one. */
export async function settle(): Promise<void> {
  await run("sync", []);
  await touchPages();
}

/**
 * Touches as much memory as a run needs for the pages of its files: if the host of a virtual machine reclaims free
 * memory, the first process that touches it again is slowed down. Call it just before the clock starts, because the
 * host reclaims memory within two seconds.
 */
export async function touchPages(): Promise<void> {
  const path = join(tmpdir(), `cairn-bench-${randomUUID()}`);
  const file = await open(path, "w");
  try {
    const mebibyte = Buffer.alloc(1024 * 1024);
    for (let written = 0; written < TOUCH_MIB; written++) await file.write(mebibyte);
  } finally {
    await file.close();
    await rm(path);
  }
}

/** Flushes a file or directory (with `files` also the files in it), but no other pending writes of the machine. */
export async function flush(path: string, options: { readonly files?: boolean } = {}): Promise<void> {
  const files = options.files === true ? (await readdir(path)).map((name) => join(path, name)) : [];
  await run("sync", [...files, path]);
}

/** Copies a directory without sharing its blocks. */
export async function copyDirectory(from: string, to: string): Promise<void> {
  await run("cp", ["-r", "--reflink=never", from, to]);
}

/** Returns the duration of `work` in seconds. */
export async function seconds(work: () => Promise<unknown>): Promise<number> {
  const begin = performance.now();
  await work();
  return (performance.now() - begin) / 1000;
}
