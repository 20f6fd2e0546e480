import { statfs } from "node:fs/promises";
import path from "node:path";
import { CairnError, closing, isCairnError, type KvProvider, namesIn, syncFile, syncFolder } from "@cairn/kv";
import { formatBytes } from "@cairn/text";
import type { Logger } from "pino";
import { INDEX_VERSION, readStoredState } from "../index/rows/index-state.ts";
import { upgradeIndex } from "../index/upgrade/upgrade-index.ts";
import type { RestoreContext } from "./restore-index.ts";

/**
 * Replaces a local index of an older version with an upgraded copy, which shares the files that do not change. The old
 * one is moved to quarantine, whole. Returns `unusable`, or the damage that was found, if there is no such index to
 * continue from. Throws `DISK_FULL` before anything is written if there may not be enough room.
 */
export async function upgradeLocal(
  context: RestoreContext & { readonly logger: Logger },
  unusable: CairnError,
): Promise<CairnError | undefined> {
  const { system, directory, logger, report, signal } = context;
  const { live, next } = directory.layout;
  const { kvProvider: provider } = system;
  if (unusable.code !== "INDEX_VERSION") return unusable;
  let version: number;
  try {
    version = await copyInto(provider, live, next);
    logger.info({ from: version, to: INDEX_VERSION }, "upgrading the index");
    await upgradeIndex(provider, next, {
      signal,
      onProgress: (done, total) => report.advance("documents", done, total),
    });
  } catch (error) {
    await directory.sweep("next");
    if (isCairnError(error, "INDEX_CORRUPT") || isCairnError(error, "INDEX_VERSION")) return error;
    throw error;
  }
  report.finish();
  for (const name of await namesIn(next)) await syncFile(path.join(next, name));
  await syncFolder(next);
  const reason = new CairnError(
    "INDEX_VERSION",
    `The index was upgraded from version ${version} to version ${INDEX_VERSION}. This is the index before the upgrade.`,
  );
  const moved = await directory.moveAside(reason, { holdsLost: false });
  await directory.place(next);
  logger.info({ from: version, to: INDEX_VERSION, before: moved.path }, "upgraded the index");
  return undefined;
}

/** Copies an index that can be upgraded, by links where possible, and returns its version. */
async function copyInto(provider: KvProvider, live: string, next: string): Promise<number> {
  return await closing(await provider.open(live, { check: true }), async (kv) => {
    const state = await readStoredState(kv);
    await kv.checked?.();
    const [{ bytes }, { bavail, bsize }] = await Promise.all([kv.stats(), statfs(live)]);
    if (bavail * bsize < bytes) {
      throw new CairnError(
        "DISK_FULL",
        `An upgrade of the index in ${live} may need ${formatBytes(bytes)}, and ${formatBytes(bavail * bsize)} are free.`,
        "Free some space on the disk: the node tries again by itself.",
      );
    }
    await kv.capture(next);
    return state?.version ?? INDEX_VERSION;
  });
}
