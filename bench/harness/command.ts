import { spawn } from "node:child_process";
import { once } from "node:events";
import { randomUUID } from "node:crypto";
import { open, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Runs a program to its end; throws when it is not there or fails. */
export async function run(command: string, args: readonly string[]): Promise<void> {
  const child = spawn(command, args, { stdio: ["ignore", "ignore", "pipe"] });
  const complaints: Buffer[] = [];
  child.stderr.on("data", (chunk: Buffer) => complaints.push(chunk));
  const [code] = (await once(child, "close")) as [number | null];
  if (code === 0) return;
  throw new Error(`${command} ${args.join(" ")}: ${Buffer.concat(complaints).toString("utf8").trim()}`);
}

const TOUCHED_MIB = 1_024;

/** Brings everything written so far to the disk, so that no run pays for what came before it. */
export async function settle(): Promise<void> {
  await run("sync", []);
  await touchPages();
}

/**
 * Touches as much memory as a run needs for the pages of its files: on a virtual machine whose host takes back what is free, the
 * first to touch it pays for that. To be done just before the clock starts, since the host takes it back within two seconds.
 */
export async function touchPages(): Promise<void> {
  const path = join(tmpdir(), `cairn-bench-${randomUUID()}`);
  const file = await open(path, "w");
  try {
    const mebibyte = Buffer.alloc(1024 * 1024);
    for (let written = 0; written < TOUCHED_MIB; written++) await file.write(mebibyte);
  } finally {
    await file.close();
    await rm(path);
  }
}

/** Flushes a file, or a directory and the files in it, and nothing else that the machine may have to write. */
export async function flush(path: string, options: { readonly files?: boolean } = {}): Promise<void> {
  const files = options.files === true ? (await readdir(path)).map((name) => join(path, name)) : [];
  await run("sync", [...files, path]);
}

/** Copies a directory, sharing nothing with it. */
export async function copyDirectory(from: string, to: string): Promise<void> {
  await run("cp", ["-r", "--reflink=never", from, to]);
}

/** How long `work` takes, in seconds. */
export async function seconds(work: () => Promise<unknown>): Promise<number> {
  const begin = performance.now();
  await work();
  return (performance.now() - begin) / 1000;
}
