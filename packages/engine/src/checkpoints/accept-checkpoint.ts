import { isDeepStrictEqual } from "node:util";
import type { CapturedState, Manifest } from "@cairn/checkpoint";
import { CairnError, isCairnError, type KvProvider } from "@cairn/kv";
import type { LogHistory } from "../backup/log-with-backup.ts";
import { readIndex } from "../index/local-index.ts";
import { INDEX_VERSION, isReadable } from "../index/rows/index-state.ts";
import { checkCheckpoint } from "../log/anchor.ts";
import type { LogIdentity } from "../log/log-identity.ts";
import { type ConfiguredIndexes, takeOwnFiles } from "../own-indexes/checkpointed-files.ts";
import { capturedState } from "./index-source.ts";

/** Returns true if this node can read the checkpoint and the log continues it. Otherwise, returns the reason. */
export async function acceptManifest(
  manifest: Omit<Manifest, "files">,
  kvFormat: string,
  log: LogHistory,
  identity: LogIdentity,
): Promise<true | CairnError> {
  const foreign = judgeFormat(manifest, kvFormat);
  if (foreign !== undefined) return foreign;
  if (manifest.log.id !== identity.id) {
    // The log must continue the checkpoint's log at its end or, with a backup, later. Of one that does not respond, only
    // this checkpoint is rejected, because another one may not need a backup.
    const end = { logId: manifest.log.id, ...manifest.anchor };
    const way = await log.earlier.wayFrom(end, identity.birth).catch((error: unknown) => {
      if (isCairnError(error, "LOG_UNREACHABLE")) return error;
      throw error;
    });
    return way instanceof CairnError ? way : way === undefined ? otherHistory(manifest) : true;
  }
  if (manifest.log.offset !== (identity.birth?.offset ?? manifest.log.offset)) {
    return new CairnError(
      "CHECKPOINT_CORRUPT",
      "Its offset differs from the offset of its log.",
      "Do nothing: an older checkpoint or the log itself is used instead.",
    );
  }
  return (await checkCheckpoint(log, manifest)) ?? true;
}

/** Returns the reason why this version of Cairn cannot read the index in a checkpoint; undefined if it can. */
export function judgeFormat({ format }: Pick<Manifest, "format">, kvFormat: string): CairnError | undefined {
  if (isReadable(format, kvFormat)) return undefined;
  return new CairnError(
    "INDEX_VERSION",
    `It holds an index of version ${format.index} in ${format.kv}; this node reads versions up to ${INDEX_VERSION} in ${kvFormat}.`,
    "Do nothing: an older checkpoint or the log itself is used instead.",
  );
}

function otherHistory({ log, txId }: Omit<Manifest, "files">): CairnError {
  return new CairnError(
    "LOG_DIFFERENT",
    `It ends at transaction ${txId} of the log ${log.name} (${log.id}), and this log does not continue it from there.`,
    "Do nothing: the checkpoint that the log continues, or a newer one of this log, is used. This one is left unchanged.",
  );
}

/**
 * Throws `CHECKPOINT_CORRUPT` if a restored index does not match its manifest. Moves the indexes of one's own that were
 * restored with it to the folder `own` if they are as configured; removes all others.
 */
export async function verifyRestored(
  provider: KvProvider,
  dir: string,
  manifest: Manifest,
  configured?: ConfiguredIndexes,
): Promise<void> {
  await verifyIndex(provider, dir, manifest);
  await takeOwnFiles(dir, manifest.purged, configured);
}

async function verifyIndex(provider: KvProvider, dir: string, manifest: Manifest): Promise<void> {
  const listed = manifest.chains.map(({ txId }) => txId);
  const found = await readIndex(provider, dir, async ({ kv, state }) =>
    state === undefined ? undefined : await capturedState(kv, state, provider.format, listed),
  );
  // An index of an earlier version is read as one of this version.
  const claimed: CapturedState = { ...manifest, format: { index: INDEX_VERSION, kv: manifest.format.kv } };
  const differing = CAPTURED.filter((name) => !isDeepStrictEqual(found?.[name], claimed[name]));
  if (differing.length === 0) return;
  const what = found === undefined ? "it is empty" : `it has a different ${differing.join(", a different ")}`;
  throw new CairnError(
    "CHECKPOINT_CORRUPT",
    `The index in it does not match its manifest: ${what}.`,
    "Do nothing: an older checkpoint or the log itself is used instead.",
  );
}

/** The members of a captured state. A manifest that was read has no unknown ones in them. */
const CAPTURED = [
  "format",
  "log",
  "txId",
  "txTime",
  "anchor",
  "chains",
  "unshown",
  "purged",
  "documents",
] as const satisfies readonly (keyof CapturedState)[];
