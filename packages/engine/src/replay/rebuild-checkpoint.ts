import { rm } from "node:fs/promises";
import path from "node:path";
import {
  type CheckpointSource,
  listCheckpoints,
  takeCheckpoint,
  type TakeOptions,
  type TakeOutcome,
} from "@cairn/checkpoint";
import type { CheckpointSummary, TxId } from "@cairn/client";
import { CairnError, closing, diskError, type KvProvider, removeFolder, systemClock } from "@cairn/kv";
import type { System } from "../api/system.ts";
import { type LogHistory, wayToLog } from "../backup/log-with-backup.ts";
import { acceptManifest, judgeFormat } from "../checkpoints/accept-checkpoint.ts";
import { allStores } from "../checkpoints/checkpoint-stores.ts";
import { checkpointSummary } from "../checkpoints/checkpoint-summary.ts";
import { indexSource } from "../checkpoints/index-source.ts";
import { IndexDirectory } from "../db-dir/index-directory.ts";
import { IndexStore } from "../index/index-store.ts";
import { fileReader, tryOpenIndex } from "../index/local-index.ts";
import { emptyState, INDEX_VERSION, type IndexState, logOffset } from "../index/rows/index-state.ts";
import { checkAnchor } from "../log/anchor.ts";
import type { LogState } from "../log/follow-log.ts";
import { lastKnown, type LogIdentity } from "../log/log-identity.ts";
import { beginningOf, foldLog } from "./fold-log.ts";

interface CheckpointRebuild {
  readonly log: LogHistory;
  readonly identity: LogIdentity;
  readonly system: System & { readonly checkpointer: NonNullable<System["checkpointer"]> };
  readonly node: string;
  readonly signal: AbortSignal;
  /** `total` is the last transaction that the log held when the rebuild began. */
  readonly onProgress: (done: number, total: number) => void;
  readonly onLogState: (state: LogState) => void;
  readonly onBuilt: () => void;
  /** Called once if another node is saving a checkpoint, which is awaited. */
  readonly onWaiting: (because: string) => void;
}

type RebuiltCheckpoint =
  | { readonly checkpoint: CheckpointSummary; readonly log: string; readonly resumedAt: TxId }
  | { readonly skipped: "unchanged"; readonly because: string };

const POLL_INTERVAL_MS = 1_000;

/**
 * Saves a checkpoint of this version, built from the log alone, unless the store has one of the whole log. The node may
 * run. Throws `LOG_TRIMMED` if neither the log nor its backup has the beginning.
 */
export async function rebuildCheckpoint(options: CheckpointRebuild): Promise<RebuiltCheckpoint> {
  const { system } = options;
  await requireBeginning(options);
  const newest = await findUpToDate(options);
  if (newest !== undefined) {
    const because = `${newest} has the index format of this version and contains the whole log.`;
    return { skipped: "unchanged", because };
  }
  // The rebuild has its own folder next to the node's folders, because a running node locks them.
  const folder = path.join(system.dir, "rebuild");
  const directory = await IndexDirectory.acquire(folder);
  let isDone = false;
  try {
    const result = await buildAndSave(options, directory);
    isDone = true;
    return result;
  } catch (error) {
    throw diskError(error, folder);
  } finally {
    await directory.release();
    // An unfinished index is kept, and the next rebuild continues from it.
    if (isDone) await rm(folder, { recursive: true, force: true });
  }
}

async function buildAndSave(
  rebuild: CheckpointRebuild,
  directory: IndexDirectory,
): Promise<RebuiltCheckpoint> {
  const { log, system, node } = rebuild;
  // The index is built on disk even if the node keeps its own in memory, because it may be larger than the memory.
  const provider = fileReader(system.kvProvider);
  return await closing(await openPartial(rebuild, provider, directory), async (index) => {
    const resumedAt = index.state.txId;
    await applyLog(rebuild, index);
    rebuild.onBuilt();
    const options = { ...system.checkpointer, checkpointDir: directory.layout.capture };
    const saved = await saveIndex(index, { ...rebuild, source: { node, provider, log }, options });
    if (saved.outcome === "skipped") return { skipped: "unchanged", because: saved.because };
    const { name, manifest } = saved.checkpoint;
    return { checkpoint: checkpointSummary({ ...manifest, name }), log: log.name, resumedAt };
  });
}

interface IndexSaving extends Pick<CheckpointRebuild, "signal" | "onWaiting"> {
  readonly source: Pick<Parameters<typeof indexSource>[0], "node" | "provider" | "log"> &
    Pick<CheckpointSource, "agrees">;
  readonly options: TakeOptions["options"];
}

/** Saves a checkpoint of an index that no other task uses, unless the store has one. Waits while a node saves one. */
export async function saveIndex(
  index: IndexStore,
  { source, options, signal, onWaiting }: IndexSaving,
): Promise<TakeOutcome> {
  const purge = async (): Promise<void> => {
    await index.purgeEvictions({ withinMs: Infinity, signal });
  };
  const saving = { source: { ...indexSource({ ...source, index, purge }), ...source }, options };
  for (let tries = 0; ; tries++) {
    const saved = await takeCheckpoint({ ...saving, forced: true, signal });
    if (saved.outcome !== "skipped" || saved.reason !== "leased") return saved;
    if (tries === 0) onWaiting(saved.because);
    await systemClock.wait(POLL_INTERVAL_MS, signal);
    signal.throwIfAborted();
  }
}

/** Returns the name of a checkpoint that nodes of this version can restore and that contains the whole log. */
async function findUpToDate(rebuild: CheckpointRebuild): Promise<string | undefined> {
  const { log, identity, system, signal } = rebuild;
  const { bounds, birth } = identity;
  const last = bounds.last + (birth?.offset ?? 0);
  for (const one of (await listCheckpoints(system.checkpointer.store, signal)).checkpoints) {
    if (one.log.id !== identity.id || one.txId < last || one.format.index !== INDEX_VERSION) continue;
    const accepted = await acceptManifest(one, system.kvProvider.format, log, identity);
    if (accepted === true) return one.name;
  }
  return undefined;
}

/** Applies everything that the log held when the rebuild began, and builds the indexed fields. */
async function applyLog(rebuild: CheckpointRebuild, index: IndexStore): Promise<void> {
  const { log, identity, signal, onProgress, onLogState } = rebuild;
  const upTo = identity.bounds.last + logOffset(identity, index.state);
  onProgress(index.state.txId, upTo);
  const onApplied = (): void => onProgress(index.state.txId, upTo);
  await foldLog({ index, log, identity, upTo, signal, onApplied, onLogState });
  // Otherwise, each node that restores the index would have to build the fields before it is ready.
  while (!signal.aborted && (await index.buildFields()));
  signal.throwIfAborted();
}

/** Opens the index of an interrupted rebuild if it agrees with the log, otherwise an empty index in its place. */
async function openPartial(
  { log, identity }: CheckpointRebuild,
  provider: KvProvider,
  directory: IndexDirectory,
): Promise<IndexStore> {
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
  const end = { logId: state.log.id, txId: state.txId, sha256: state.sha256 };
  if (end.logId !== identity.id) return (await wayToLog(log, identity, end)) !== undefined;
  const anchor = lastKnown(identity, state);
  return anchor !== undefined && (await checkAnchor(log, anchor)) === undefined;
}

/**
 * Throws `LOG_TRIMMED` if an index cannot be built from the log alone, because the log's beginning was trimmed or is in
 * a log that it continues. The error names the missing part and a checkpoint that contains it.
 */
async function requireBeginning(options: CheckpointRebuild): Promise<void> {
  const { log, identity } = options;
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
    await missingPartHint([id, holder], options),
  );
}

async function missingPartHint(
  logIds: readonly string[],
  { system, signal }: CheckpointRebuild,
): Promise<string> {
  let other: string | undefined;
  for (const store of allStores(system)) {
    for (const one of (await listCheckpoints(store, signal)).checkpoints) {
      if (!logIds.includes(one.log.id)) continue;
      const where = `${one.name} in ${store.location}`;
      if (judgeFormat(one, system.kvProvider.format) === undefined) {
        return `Nodes of this version join from ${where}, which holds the missing transactions up to ${one.txId}: no rebuild is needed.`;
      }
      other ??=
        `${where} holds them up to transaction ${one.txId}, in an index of version ${one.format.index} that Cairn ${one.version} ` +
        `wrote; this version of Cairn reads versions up to ${INDEX_VERSION}. Run that version of Cairn, or restore the log.`;
    }
  }
  return (
    other ??
    "The configured stores have no checkpoint of it either: add a store that has one to restore-from."
  );
}
