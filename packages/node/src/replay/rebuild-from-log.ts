import { rm } from "node:fs/promises";
import { type CheckpointStore, listCheckpoints } from "@cairn/checkpoint";
import { CairnError, type KvProvider } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import { IndexStore } from "../index/index-store.ts";
import { foldLog } from "./fold-log.ts";
import { INDEX_VERSION, statePosition, lastKnown, logOffset, emptyState } from "../index/rows/index-state.ts";
import type { IndexDirectory } from "../db-dir/index-directory.ts";
import { tryOpenIndex } from "../index/local-index.ts";
import { type LogIdentity } from "../log/log-identity.ts";
import { judgeFormat } from "../checkpoints/accept-checkpoint.ts";
import { checkAnchor } from "../log/anchor.ts";
import type { LogState } from "../log/follow-log.ts";
import type { TxLog } from "../log/tx-log.ts";

/** What an index is rebuilt from, and where. */
export interface RebuildOptions {
  readonly log: TxLog;
  readonly identity: LogIdentity;
  readonly provider: KvProvider;
  /** Of the rebuild alone. What an earlier one that was cut short left there is gone on from, if it agrees with the log. */
  readonly directory: IndexDirectory;
  readonly signal: AbortSignal;
  /** Messages applied, and how many there were when it began. */
  readonly onProgress?: (done: number, total: number) => void;
  readonly onLogState?: (state: LogState) => void;
}

/** An index that holds all that its log held when the rebuild began, its indexed fields built; the caller closes it. */
export interface RebuiltIndex {
  readonly index: IndexStore;
  /** Where an earlier rebuild had got to; 0: this one began with nothing. */
  readonly resumedAt: TxId;
}

/**
 * Builds an index of this version from its log alone, from the first message on. Errors: {@link requireBeginning}'s, those of reading
 * the log; whatever ends it, what was built so far stays for the next.
 */
export async function rebuildFromLog(options: RebuildOptions): Promise<RebuiltIndex> {
  const { log, identity, signal, onProgress, onLogState } = options;
  const index = await openPartial(options);
  try {
    const resumedAt = index.state.txId;
    const goal = identity.bounds.last;
    onProgress?.(statePosition(index.state), goal);
    const onApplied = (): void => onProgress?.(statePosition(index.state), goal);
    const upTo = goal + logOffset(identity, index.state);
    await foldLog({ index, log, identity, upTo, signal, onApplied, onLogState });
    // Else each node that restores it would build them before it is ready.
    while (!signal.aborted && (await index.buildFields()));
    signal.throwIfAborted();
    return { index, resumedAt };
  } catch (error) {
    await index.close();
    throw error;
  }
}

/** What an earlier rebuild left, where it can be gone on from; else an empty index in its place. */
async function openPartial({ log, identity, provider, directory }: RebuildOptions): Promise<IndexStore> {
  const empty = emptyState(identity);
  if (await directory.hasLive()) {
    const found = await tryOpenIndex(provider, directory.live);
    if ("kv" in found) {
      const { kv, state } = found;
      const anchor = state === undefined ? undefined : lastKnown(identity, state);
      if (anchor !== undefined && (await checkAnchor(log, anchor)) === undefined) {
        return await IndexStore.open(kv, empty);
      }
      await kv.close();
    }
    // It is nobody's but a rebuild's: nothing is lost with it.
    await rm(directory.live, { recursive: true, force: true });
  }
  return await IndexStore.open(await provider.open(directory.live), empty);
}

/**
 * `LOG_TRIMMED` when the log alone cannot give an index, because its beginning is gone or lies in a log that it continues. Says what is
 * missing, and which checkpoint has it.
 */
export async function requireBeginning(
  { id, name, birth, bounds }: LogIdentity,
  stores: readonly CheckpointStore[],
  provider: KvProvider,
  signal?: AbortSignal,
): Promise<void> {
  if (birth !== undefined && birth.continues === undefined) return;
  const missing =
    birth?.continues === undefined
      ? `no longer holds the transactions before message ${bounds.first}`
      : `continues the log ${birth.continues.log} after its transaction ${birth.continues.anchor.txId}`;
  const holder = birth?.continues?.log ?? id;
  throw new CairnError(
    "LOG_TRIMMED",
    `The log "${name}" ${missing}, so no index can be built from it alone.`,
    {
      hint: await whereItIs([id, holder], stores, provider, signal),
    },
  );
}

async function whereItIs(
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
        return `Nodes of this version join from ${where}, which holds them up to transaction ${one.txId}: nothing has to be rebuilt.`;
      }
      other ??=
        `They were last in ${where}, up to transaction ${one.txId}, as an index of version ${one.format.index}, which Cairn ` +
        `${one.version} wrote; this one reads version ${INDEX_VERSION}. Run that Cairn, or restore the log.`;
    }
  }
  return (
    other ??
    "No checkpoint of it is in the configured stores either: name in restore-from the store that has one."
  );
}
