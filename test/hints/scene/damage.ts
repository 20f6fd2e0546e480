// These functions damage the files and disks of a scene.
import { execFile } from "node:child_process";
import { cp, mkdir, open, readdir, readFile, rm, statfs } from "node:fs/promises";
import { promisify } from "node:util";
import { mountSmallDisk } from "@cairn/test-support/small-disk";
import type { HintScene } from "./hint-scene.ts";

const run = promisify(execFile);

/** Replaces a folder of the scene with a copy of another one. */
export async function copyFolder(scene: HintScene, from: string, to: string): Promise<void> {
  await rm(scene.path(to), { recursive: true, force: true });
  await cp(scene.path(from), scene.path(to), { recursive: true });
}

/** Mounts a disk of `megabytes` at a folder of the scene. Requires root. */
export async function smallDisk(scene: HintScene, name: string, megabytes: number): Promise<void> {
  const disk = await mountSmallDisk(scene.path(name), megabytes);
  scene.onClose(() => disk.unmount());
}

/** Mounts a volume at a folder of the scene. The volume keeps its files while it is unmounted. */
export async function volumeAt(scene: HintScene, name: string): Promise<void> {
  await smallDisk(scene, `volume-of-${name}`, 16);
  await mkdir(scene.path(name));
  await mountVolume(scene, name);
  scene.onClose(() => unmountVolume(scene, name));
}

export async function mountVolume(scene: HintScene, name: string): Promise<void> {
  await run("mount", ["--bind", scene.path(`volume-of-${name}`), scene.path(name)]);
}

export async function unmountVolume(scene: HintScene, name: string): Promise<void> {
  const mounts = await readFile("/proc/self/mounts", "utf8");
  if (mounts.includes(` ${scene.path(name)} `)) await run("umount", ["-l", scene.path(name)]);
}

export async function remount(scene: HintScene, name: string, mode: "ro" | "rw"): Promise<void> {
  await run("mount", ["-o", `remount,${mode}`, scene.path(name)]);
}

/** Fills a small disk with an unrelated file. */
export async function fillDisk(scene: HintScene, name: string): Promise<void> {
  const { bavail, bsize } = await statfs(scene.path(name));
  await run("fallocate", ["-l", String(bavail * bsize), scene.path(name, "unrelated")]);
}

/** Removes the file of {@link fillDisk}. */
export async function freeDisk(scene: HintScene, name: string): Promise<void> {
  await rm(scene.path(name, "unrelated"));
}

/** Writes through a node until its status shows a failure. */
export async function writeUntilFailure(scene: HintScene, id: string): Promise<void> {
  const node = scene.node(id);
  const text = "x".repeat(100_000);
  for (let n = 0; (await node.status()).failure === null; n += 1) {
    const body = JSON.stringify({ ops: [["put", "filling", `default/k${n}`, { n, text: text + n }]] });
    await fetch(`${await node.url()}/api/v1/tx`, { method: "POST", body });
  }
}

/** Overwrites bytes in the middle of a file. */
export async function changeBytes(file: string): Promise<void> {
  const handle = await open(file, "r+");
  const { size } = await handle.stat();
  await handle.write("damage", Math.floor(size / 2));
  await handle.close();
}

/** Returns the paths of the files of a node's live index that end in `ending`. */
export async function indexFiles(scene: HintScene, id: string, ending: RegExp): Promise<string[]> {
  return await filesBelow(scene, id, new RegExp(`live/[^/]*${ending.source}`));
}

export async function filesBelow(scene: HintScene, name: string, which: RegExp): Promise<string[]> {
  const found = (await readdir(scene.path(name), { recursive: true })).filter((file) => which.test(file));
  if (found.length === 0) throw new Error(`there is no ${which.source} in ${name}`);
  return found.map((file) => scene.path(name, file));
}
