import { rename } from "node:fs/promises";
import path from "node:path";
import { archivableBytes } from "@cairn/checkpoint";
import { namesIn, removeFolder, syncFile, systemClock } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import { IndexFolders } from "./index-folders.ts";
import type { OwnIndexOptions } from "./own-index.ts";

/*
 * A checkpoint contains the files of an index of one's own beside those of the node's index, as
 * `own-NAME.VERSION.FILE`. LevelDB ignores such names.
 */
const FILE = /^own-(?<name>[^.]+)\.(?<version>\d+)\.(?<file>.+)$/;

/** Moves the files of captured indexes, each in a folder `NAME.VERSION` in `from`, into a captured index. */
export async function addOwnFiles(from: string, dir: string): Promise<void> {
  for (const index of await namesIn(from))
    for (const file of await namesIn(path.join(from, index)))
      await rename(path.join(from, index, file), path.join(dir, archivedName(index, file)));
}

function archivedName(index: string, file: string): string {
  return `own-${index}.${file}`;
}

/** Throws `CHECKPOINT_CORRUPT` if a module has captured what a checkpoint cannot contain, such as a folder or a link. */
export async function requireArchivable(dir: string): Promise<void> {
  for (const file of await namesIn(dir))
    await archivableBytes(path.join(dir, file), archivedName(path.basename(dir), file));
}

/** The indexes of one's own of those who restore a checkpoint, if they have any. */
export interface ConfiguredIndexes {
  /** The folder of all indexes of one's own. */
  readonly own: string;
  readonly indexes: readonly OwnIndexOptions[];
}

/**
 * Moves the files of restored indexes out of `dir`, into folders in `own`. Removes those that are not of the configured
 * version: they are built again. `purged` is the transaction up to which no file of the checkpoint contains evicted
 * content.
 */
export async function takeOwnFiles(
  dir: string,
  purged: TxId,
  { own, indexes }: ConfiguredIndexes = { own: dir, indexes: [] },
): Promise<void> {
  const builds = new Map<OwnIndexOptions, string>();
  for (const restored of await namesIn(dir)) {
    const { name, version, file } = FILE.exec(restored)?.groups ?? {};
    if (file === undefined) continue;
    const wanted = indexes.find((one) => one.name === name && String(one.version) === version);
    const from = path.join(dir, restored);
    if (wanted === undefined) {
      await removeFolder(from);
      continue;
    }
    let build = builds.get(wanted);
    if (build === undefined) {
      build = await new IndexFolders(path.join(own, wanted.name)).begin(wanted.version);
      builds.set(wanted, build);
    }
    await syncFile(from);
    await rename(from, path.join(build, file));
  }
  for (const [{ name, version, options, buckets }, build] of builds)
    await new IndexFolders(path.join(own, name)).publish({
      dir: build,
      version,
      options,
      buckets,
      purged: { txId: purged, at: systemClock.now() },
    });
}

export function folderForCapture(into: string, { name, version }: OwnIndexOptions): string {
  return path.join(into, `${name}.${version}`);
}
