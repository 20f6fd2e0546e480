// What befalls the disks of a scene.
import { execFile } from "node:child_process";
import { cp, mkdir, open, readdir, readFile, rm, statfs } from "node:fs/promises";
import { promisify } from "node:util";
import { mountSmallDisk } from "../../support/small-disk.ts";
import type { HintScene } from "./hint-scene.ts";

const run = promisify(execFile);

/** Makes a folder of the scene what another one is. */
export async function copyFolder(scene: HintScene, from: string, to: string): Promise<void> {
  await rm(scene.path(to), { recursive: true, force: true });
  await cp(scene.path(from), scene.path(to), { recursive: true });
}

/** Gives a folder of the scene a disk of its own, of so many megabytes. Needs root. */
export async function smallDisk(scene: HintScene, name: string, megabytes: number): Promise<void> {
  const disk = await mountSmallDisk(scene.path(name), megabytes);
  scene.onClose(() => disk.unmount());
}

/** Mounts a disk of its own, which stays while it is not mounted, at a folder of the scene. */
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

/** Somebody else's file takes what is left of a small disk. */
export async function fillDisk(scene: HintScene, name: string): Promise<void> {
  const { bavail, bsize } = await statfs(scene.path(name));
  await run("fallocate", ["-l", String(bavail * bsize), scene.path(name, "somebody-elses")]);
}

export async function makeRoom(scene: HintScene, name: string): Promise<void> {
  await rm(scene.path(name, "somebody-elses"));
}

/** Writes through a node until it has said that it is not well. */
export async function writeUntilRefused(scene: HintScene, id: string): Promise<void> {
  const node = scene.node(id);
  const text = "x".repeat(100_000);
  for (let n = 0; (await node.status()).failure === null; n += 1) {
    const body = JSON.stringify({ ops: [["put", "filling", `default/k${n}`, { n, text: text + n }]] });
    await fetch(`${await node.url()}/api/v1/tx`, { method: "POST", body });
  }
}

/** Changes bytes in the middle of a file. */
export async function changeBytes(file: string): Promise<void> {
  const handle = await open(file, "r+");
  const { size } = await handle.stat();
  await handle.write("damage", Math.floor(size / 2));
  await handle.close();
}

/** The path of the newest checkpoint's archive. */
export async function newestArchive(scene: HintScene, store = "checkpoints"): Promise<string> {
  const archives = (await readdir(scene.path(store))).filter((name) => name.endsWith(".tar"));
  const [newest = ""] = archives.toSorted((a, b) => txIdOf(b) - txIdOf(a));
  return scene.path(store, newest);
}

/** The paths of what a node's index consists of. */
export async function indexFiles(scene: HintScene, id: string, ending: RegExp): Promise<string[]> {
  return await filesBelow(scene, id, new RegExp(`live/[^/]*${ending.source}`));
}

export async function filesBelow(scene: HintScene, name: string, which: RegExp): Promise<string[]> {
  const found = (await readdir(scene.path(name), { recursive: true })).filter((file) => which.test(file));
  if (found.length === 0) throw new Error(`there is no ${which.source} in ${name}`);
  return found.map((file) => scene.path(name, file));
}

/** Of a name like checkpoint-43-…. */
function txIdOf(name: string): number {
  return Number(name.split("-")[1]);
}
