import { readdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import type { Manifest } from "@cairn/checkpoint";
import { readLogIdentity, type TxLog } from "@cairn/engine";
import { listBackup } from "@cairn/engine/src/backup/segments/segment-name";
import type { BackupTarget } from "@cairn/engine/src/backup/write/write-segments";
import { writeSegments } from "@cairn/engine/src/backup/write/write-segments";
import { sealedManifest } from "../stores/sealed-manifest.ts";
import type { TrimScene } from "./trim-scene.ts";

/** Returns the scene's log as a target that is backed up to the scene's store. */
export async function backupTarget({ store }: TrimScene, log: TxLog): Promise<BackupTarget> {
  const identity = await readLogIdentity(log);
  return {
    store,
    log,
    of: { id: identity?.id ?? "", name: log.name, offset: 0 },
    node: "writer",
    codec: "none",
    signal: new AbortController().signal,
    storeNow: Date.now,
  };
}

/** Writes a segment for each pair of consecutive `bounds`: from the first, up to but not including the second. */
export async function writeRuns(target: BackupTarget, ...bounds: readonly number[]): Promise<void> {
  for (const [at, first] of bounds.slice(0, -1).entries())
    await writeSegments(target, { first, last: (bounds[at + 1] ?? 0) - 1 }, () => undefined);
}

/** Returns the first and last transaction of each segment, as `1-5`. */
export async function runs({ store, of }: Pick<BackupTarget, "store" | "of">): Promise<string[]> {
  return (await listBackup(store, of.id)).segments.map(({ first, last }) => `${first}-${last}`);
}

/** Changes a byte in the middle of the segment that begins with `first`. Returns its name. */
export async function damageSegment(
  scene: TrimScene,
  { of, store }: BackupTarget,
  first: number,
): Promise<string> {
  const segment = (await listBackup(store, of.id)).segments.find((one) => one.first === first);
  if (segment === undefined) throw new Error(`no segment begins with ${first}`);
  const file = path.join(scene.folder, "checkpoints", segment.name);
  const content = await readFile(file);
  const middle = Math.floor(content.length / 2);
  content[middle] = (content[middle] ?? 0) ^ 1;
  await writeFile(file, content);
  return segment.name;
}

/** Turns the checkpoints of a scene into those of another index version, as an upgrade would. */
export async function ofOtherVersion(scene: TrimScene, name?: string): Promise<void> {
  const folder = path.join(scene.folder, "checkpoints");
  for (const file of await readdir(folder)) {
    const isManifest = /^checkpoint-.*(?<!\.verified)\.json$/.test(file);
    if (!isManifest || (name !== undefined && file !== `${name}.json`)) continue;
    const manifest = JSON.parse(await readFile(path.join(folder, file), "utf8")) as Manifest;
    const format = { ...manifest.format, index: manifest.format.index + 1 };
    await writeFile(path.join(folder, file), sealedManifest({ ...manifest, format }));
  }
}
