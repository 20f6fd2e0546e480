import { type CheckpointStore, listCheckpoints } from "@cairn/checkpoint";
import { CairnError, type KvProvider, removeFolder } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import { IndexStore } from "../index/index-store.ts";
import { type LogHistory, wayToLog } from "../backup/log-with-backup.ts";
import { beginningOf, foldLog } from "./fold-log.ts";
import { INDEX_VERSION, type IndexState, logOffset, emptyState } from "../index/rows/index-state.ts";
import type { IndexDirectory } from "../db-dir/index-directory.ts";
import { tryOpenIndex } from "../index/local-index.ts";
import { lastKnown, type LogIdentity } from "../log/log-identity.ts";
import { judgeFormat } from "../checkpoints/accept-checkpoint.ts";
import { checkAnchor } from "../log/anchor.ts";
import type { LogState } from "../log/follow-log.ts";

export interface LogRebuildOptions {
  readonly log: LogHistory;
  readonly identity: LogIdentity;
  readonly provider: KvProvider;
  /** Used only by this rebuild. An interrupted one is continued if its index agrees with the log. */
  readonly directory: IndexDirectory;
  readonly signal: AbortSignal;
  /** `total` is the last transaction that the log held when the rebuild began. */
  readonly onProgress?: (done: number, total: number) => void;
  readonly onLogState?: (state: LogState) => void;
}

/** An index of everything that the log held when the rebuild began, with its indexed fields built; the caller closes it. */
interface LogRebuild {
  readonly index: IndexStore;
  /** The transaction at which a previous, interrupted rebuild ended; 0 for a new rebuild. */
  readonly resumedAt: TxId;
}

/**
 * Builds an index of this version from its log alone, starting with the first message. Throws the errors of reading the
 * log. However a rebuild ends, the next one continues from its result.
 */
export async function rebuildFromLog(options: LogRebuildOptions): Promise<LogRebuild> {
  const { log, identity, signal, onProgress, onLogState } = options;
  const index = await openPartial(options);
  try {
    const resumedAt = index.state.txId;
    const upTo = identity.bounds.last + logOffset(identity, index.state);
    onProgress?.(index.state.txId, upTo);
    const onApplied = (): void => onProgress?.(index.state.txId, upTo);
    await foldLog({ index, log, identity, upTo, signal, onApplied, onLogState });
    // Otherwise, each node that restores the index would have to build the fields before it is ready.
    while (!signal.aborted && (await index.buildFields()));
    signal.throwIfAborted();
    return { index, resumedAt };
  } catch (error) {
    await index.close();
    throw error;
  }
}

/** Opens the index of an interrupted rebuild if it agrees with the log, otherwise an empty index in its place. */
async function openPartial({ log, identity, provider, directory }: LogRebuildOptions): Promise<IndexStore> {
  const empty = (await beginningOf(log, identity)) ?? emptyState(identity);
  if (await directory.hasLive()) {
    const found = await tryOpenIndex(provider, directory.layout.live);
    if ("kv" in found) {
      const { kv, state } = found;
      if (state !== undefined && (await agrees(log, identity, state)))
        return await IndexStore.open(kv, empty);
      await kv.close();
    }
    // Only a rebuild used this index, so nothing is lost.
    await removeFolder(directory.layout.live);
  }
  return await IndexStore.open(await provider.open(directory.layout.live), empty);
}

async function agrees(log: LogHistory, identity: LogIdentity, state: IndexState): Promise<boolean> {
  const { txId, sha256 } = state;
  if (state.log.id !== identity.id)
    return (await wayToLog(log, identity, { logId: state.log.id, txId, sha256 })) !== undefined;
  const anchor = lastKnown(identity, state);
  return anchor !== undefined && (await checkAnchor(log, anchor)) === undefined;
}

/**
 * Throws `LOG_TRIMMED` if an index cannot be built from the log alone, because the log's beginning was trimmed or is in
 * a log that it continues. The error names the missing part and a checkpoint that contains it.
 */
export async function requireBeginning(
  log: LogHistory,
  identity: LogIdentity,
  stores: readonly CheckpointStore[],
  provider: KvProvider,
  signal?: AbortSignal,
): Promise<void> {
  if ((await beginningOf(log, identity)) !== undefined) return;
  const { id, name, birth, bounds } = identity;
  const missing =
    birth?.continues === undefined
      ? `no longer holds the transactions before message ${bounds.first}`
      : `continues the log ${birth.continues.log} after its transaction ${birth.continues.anchor.txId}`;
  const holder = birth?.continues?.log ?? id;
  throw new CairnError(
    "LOG_TRIMMED",
    `The log "${name}" ${missing}, so no index can be built from it alone.`,
    await missingPartHint([id, holder], stores, provider, signal),
  );
}

async function missingPartHint(
  logIds: readonly string[],
  stores: readonly CheckpointStore[],
  { format }: KvProvider,
  signal: AbortSignal | undefined,
): Promise<string> {
  let other: string | undefined;
  for (const store of stores) {
    for (const one of (await listCheckpoints(store, signal)).checkpoints) {
      if (!logIds.includes(one.log.id)) continue;
      const where = `${one.name} in ${store.location}`;
      if (judgeFormat(one, format) === undefined) {
        return `Nodes of this version join from ${where}, which holds the missing transactions up to ${one.txId}: no rebuild is needed.`;
      }
      other ??=
        `${where} holds them up to transaction ${one.txId}, in an index of version ${one.format.index} that Cairn ${one.version} ` +
        `wrote; this version of Cairn reads version ${INDEX_VERSION}. Run that version of Cairn, or restore the log.`;
    }
  }
  return (
    other ??
    "The configured stores have no checkpoint of it either: add a store that has one to restore-from."
  );
}
