import path from "node:path";
import {
  restoreCheckpoint,
  type RestoreOptions,
  type RestoreProgress,
  type RestoreResult,
} from "@cairn/checkpoint";
import { CairnError, removeFolder } from "@cairn/kv";
import type { ChainValue, TxId } from "@cairn/client";
import { type LogHistory, logWithBackup } from "../backup/log-with-backup.ts";
import { beginningOf, foldLog } from "./fold-log.ts";
import { isOwnStore, restoreStores, type RestoringSystem } from "../checkpoints/checkpoint-stores.ts";
import { IndexStore } from "../index/index-store.ts";
import { logOffset, emptyState, type IndexState } from "../index/rows/index-state.ts";
import { type LogIdentity, readLogIdentity } from "../log/log-identity.ts";
import { readIndex } from "../index/local-index.ts";
import { acceptManifest, verifyRestored } from "../checkpoints/accept-checkpoint.ts";
import type { System } from "../api/system.ts";
import type { TxLog } from "../log/tx-log.ts";

export interface Restoring {
  /** The stores contain the checkpoints, and the backups of the log and of the logs that it continues. */
  readonly system: Pick<System, "nodeId" | "kvProvider"> & RestoringSystem;
  /** The folder for the rebuild. It is emptied first; the index is in its subfolder `live`. */
  readonly dir: string;
  readonly signal: AbortSignal;
  readonly onRestore?: ((progress: RestoreProgress) => void) | undefined;
  readonly onSkipped?: RestoreOptions["onSkipped"];
}

export interface RebuildOptions extends Restoring {
  readonly log: TxLog;
  readonly txId: TxId;
  /** The id of a node whose checkpoints are not used, because an index must not be judged by its own copies. */
  readonly exceptNode?: string;
  /** Checkpoints after this transaction are not used, because they are in doubt regardless of which node saved them. */
  readonly agreeAt?: TxId | undefined;
  /** If true, begins with a checkpoint even if the log has its beginning: less work, but the index depends on it. */
  readonly preferCheckpoint?: boolean;
  readonly onProgress?: (done: number, total: number) => void;
}

/**
 * A rebuilt index: the folder of its files (it is closed, and the caller must move or remove it), its digest and chains
 * at the transaction, and `basis`, a phrase that describes its sources.
 */
export interface RebuiltIndex {
  readonly live: string;
  readonly txId: TxId;
  readonly digest: string;
  readonly chains: ChainValue | undefined;
  readonly state: IndexState;
  readonly basis: string;
}

/**
 * Builds an index that ends at a transaction. It is built from the log alone if the log is complete, and otherwise from
 * the newest checkpoint at or before the transaction and the messages after it. Memory is bounded, and there is no time
 * limit. Throws `LOG_TRIMMED` if neither the log nor a checkpoint has the beginning, `LOG_REGRESSED` if the log ends
 * earlier, and the errors of logs and stores.
 */
export async function rebuildIndex(options: RebuildOptions): Promise<RebuiltIndex> {
  const { system, dir, txId, signal, onProgress } = options;
  const log = logWithBackup(options.log, restoreStores(system));
  await removeFolder(dir);
  const identity = await readLogIdentity(log);
  if (identity === undefined) throw endsBefore(log.name, 0, txId);
  const live = path.join(dir, "live");
  const empty = await beginningOf(log, identity);
  const basis = await prepareBasis(options, log, identity, live, empty !== undefined);
  return await readIndex(system.kvProvider, live, async ({ kv }) => {
    const index = await IndexStore.open(kv, empty ?? emptyState(identity));
    const begin = index.state.txId;
    const last = identity.bounds.last + logOffset(identity, index.state);
    if (last < txId) throw endsBefore(log.name, last, txId);
    const onApplied = (): void => onProgress?.(index.state.txId - begin, txId - begin);
    await foldLog({ index, log, identity, upTo: txId, signal, onApplied });
    signal.throwIfAborted();
    const digest = await index.digest();
    if (digest?.txId !== txId) throw endsBefore(log.name, digest?.txId ?? 0, txId);
    const chains = await index.chainsAt(txId);
    return { live, txId, digest: digest.digest, chains, state: index.state, basis };
  });
}

/** Restores the checkpoint with which the rebuild begins, if any. Returns a phrase that describes the beginning. */
async function prepareBasis(
  options: RebuildOptions,
  log: LogHistory,
  identity: LogIdentity,
  live: string,
  hasBeginning: boolean,
): Promise<string> {
  const { txId, exceptNode, agreeAt = txId, preferCheckpoint = false } = options;
  const fromLog = "the log from its first message";
  if (hasBeginning && !preferCheckpoint) return fromLog;
  const last = Math.min(txId, agreeAt);
  const { restored } = await restoreInto(live, options, {
    accept: async (manifest) =>
      options.agreeAt === undefined && manifest.node === exceptNode
        ? skipped("It was saved by the node that is being compared.")
        : manifest.txId > last
          ? skipped(`It ends after transaction ${last}.`)
          : await acceptManifest(manifest, options.system.kvProvider.format, log, identity),
  });
  if (restored !== undefined)
    return `${restored.name} in ${restored.store}, saved by ${restored.manifest.node}, and the log after it`;
  if (hasBeginning) return fromLog;
  throw new CairnError(
    "LOG_TRIMMED",
    `The log "${log.name}" no longer has its beginning, and no checkpoint of another node at or before transaction ${txId} contains it.`,
    "Save a checkpoint on a node that you trust, and compare again. It cannot be determined which index is right.",
  );
}

/** Restores the best checkpoint that is accepted, or the named one, and compares it with its manifest. */
export async function restoreInto(
  targetDir: string,
  { system, dir, onRestore, onSkipped, signal }: Restoring,
  choice: Pick<RestoreOptions, "accept" | "name">,
): Promise<RestoreResult> {
  return await restoreCheckpoint({
    stores: restoreStores(system),
    stagingDir: path.join(dir, "staging"),
    targetDir,
    node: system.nodeId,
    reserveIn: isOwnStore(system),
    verify: async (unpacked, manifest) => await verifyRestored(system.kvProvider, unpacked, manifest),
    onProgress: onRestore,
    onSkipped,
    signal,
    ...choice,
  });
}

function skipped(why: string): CairnError {
  return new CairnError("CHECKPOINT_NOT_FOUND", why);
}

function endsBefore(logName: string, last: TxId, txId: TxId): CairnError {
  return new CairnError(
    "LOG_REGRESSED",
    `The log "${logName}" ends at transaction ${last}, before transaction ${txId} that nodes hold.`,
    "Run cairn log status, which shows the log's messages. The nodes also compare themselves with the log and report differences.",
  );
}
