import { execFile } from "node:child_process";
import { mkdir } from "node:fs/promises";
import { promisify } from "node:util";

const run = promisify(execFile);

/** A mounted file system of a few megabytes, for tests that fill it. */
export interface SmallDisk {
  readonly path: string;
  unmount(): Promise<void>;
}

/** Mounts a tmpfs of `megabytes` at `path`. Requires root. */
export async function mountSmallDisk(path: string, megabytes: number): Promise<SmallDisk> {
  await mkdir(path, { recursive: true });
  await run("mount", ["-t", "tmpfs", "-o", `size=${megabytes}m`, "tmpfs", path]);
  return { path, unmount: async () => void (await run("umount", ["-l", path])) };
}
