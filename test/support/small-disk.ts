import { execFile } from "node:child_process";
import { mkdir } from "node:fs/promises";
import { promisify } from "node:util";

const run = promisify(execFile);

/** A file system of a few megabytes, which can be filled and freed. */
export interface SmallDisk {
  readonly path: string;
  unmount(): Promise<void>;
}

/** Mounts one at `path` (needs root, as the tests' machine has). */
export async function mountSmallDisk(path: string, megabytes: number): Promise<SmallDisk> {
  await mkdir(path, { recursive: true });
  await run("mount", ["-t", "tmpfs", "-o", `size=${megabytes}m`, "tmpfs", path]);
  return { path, unmount: async () => void (await run("umount", ["-l", path])) };
}
