import { randomBytes } from "node:crypto";
import path from "node:path";
import {
  type CheckpointStore,
  type Manifest,
  type StoredManifest,
  markDamaged,
  markVerified,
  restoreCheckpoint,
  type RestoreProgress,
  type Verification,
  whileReserved,
} from "@cairn/checkpoint";
import { CairnError, diskError, type KvProvider, removeFolder, unlessFailed } from "@cairn/kv";
import { type LogHistory, logWithBackup } from "../backup/log-with-backup.ts";
import { isDamage } from "../observe/failures.ts";
import { type LogIdentity, readLogIdentity } from "../log/log-identity.ts";
import type { OwnIndexes } from "../own-indexes/own-indexes.ts";
import { acceptManifest, judgeFormat, verifyRestored } from "./accept-checkpoint.ts";
import { checkFiles, ofSaver } from "./check-content.ts";
import type { TxLog } from "../log/tx-log.ts";

interface VerifyOptions {
  readonly store: CheckpointStore;
  readonly name: string;
  readonly provider: KvProvider;
  /** The folder in which the checkpoint is unpacked. The copy is removed afterwards. */
  readonly stagingDir: string;
  /** The id of this node, for the reservation and the mark. */
  readonly node: string;
  /** If present, the last message of the checkpoint is first compared with this log and what its backup adds to it. */
  readonly log?: TxLog | undefined;
  /** If present, those that the checkpoint contains are compared with ones built anew, which does not judge it. */
  readonly ownIndexes?: OwnIndexes | undefined;
  readonly onProgress?: ((progress: RestoreProgress) => void) | undefined;
  readonly signal?: AbortSignal;
}

interface ReadCheckpoint {
  readonly name: string;
  readonly manifest: StoredManifest;
  readonly digest: string;
  /**
   * "trimmed" means that neither the log nor a backup in the store, of this log or of one that it continues, holds the
   * checkpoint's last message. Null means that there was no log.
   */
  readonly log: "agrees" | "trimmed" | null;
}

export interface VerifiedCheckpoint extends ReadCheckpoint {
  readonly verification: Verification;
}

/**
 * Restores a checkpoint as a joining node would, opens it, compares its tables with their checksums, and reads it
 * completely to compute the digest. If it cannot be used, throws the reason as a `CHECKPOINT_*`, `INDEX_*` or `STORE_*`
 * error or, if a log is given, as a `LOG_*` error.
 */
export async function readBack(options: VerifyOptions): Promise<ReadCheckpoint> {
  return await whileReserved(options, () => readReserved(options));
}

async function readReserved(options: VerifyOptions): Promise<ReadCheckpoint> {
  const { store, name, provider, stagingDir, node, log, ownIndexes, onProgress } = options;
  const { signal = new AbortController().signal } = options;
  const targetDir = path.join(stagingDir, `verify-${randomBytes(4).toString("hex")}`);
  const own = `${targetDir}.own`;
  let digest: string | undefined;
  let compared: ReadCheckpoint["log"] = null;
  try {
    const { restored, skipped } = await restoreCheckpoint({
      stores: [store],
      stagingDir,
      targetDir,
      node,
      name,
      reserveIn: () => false,
      background: true,
      accept: async (manifest) => {
        const foreign = judgeFormat(manifest, provider.format);
        if (foreign !== undefined || log === undefined) return foreign ?? true;
        const verdict = await compareWithLog(manifest, provider.format, logWithBackup(log, [store]));
        if (verdict instanceof CairnError) return verdict;
        compared = verdict;
        return true;
      },
      verify: async (dir, manifest) => {
        try {
          await verifyRestored(provider, dir, manifest, ownIndexes && { own, indexes: ownIndexes.options });
          digest = await checkFiles(provider, dir, signal);
        } catch (error) {
          throw ofSaver(error, manifest.node);
        }
      },
      onProgress,
      signal,
    });
    if (restored === undefined || digest === undefined) {
      throw skipped.find((one) => one.name === name)?.error ?? checkpointNotFound(store, name);
    }
    const { manifest } = restored;
    const isOfThisNode = manifest.node === node;
    const files = { dir: targetDir, own, name, txId: manifest.txId, node: manifest.node, isOfThisNode };
    await ownIndexes?.compare(files, signal);
    return { name, manifest, digest, log: compared };
  } catch (error) {
    throw diskError(error, stagingDir);
  } finally {
    await removeFolder(targetDir);
    await removeFolder(own);
  }
}

/**
 * Verifies a checkpoint as {@link readBack} does, and marks it as verified or, if it is damaged on a second reading as
 * well, as damaged.
 */
export async function verifyCheckpoint(options: VerifyOptions): Promise<VerifiedCheckpoint> {
  const { store, name, node, signal } = options;
  const isDamaged = (error: unknown): boolean => signal?.aborted !== true && isDamage(error);
  return await whileReserved(options, async () => {
    const found = await readReserved(options)
      .catch(async (error: unknown) => {
        // The transfer may have caused the damage, and a mark would keep nodes from an intact checkpoint.
        if (isDamaged(error)) return await readReserved(options);
        throw error;
      })
      .catch(async (error: unknown) => {
        if (isDamaged(error)) await tryMarkDamaged(store, [name], node);
        throw error;
      });
    // A sweep that finds no reservation any longer finds the mark.
    const verification = await markVerified(store, name, { ...found, node });
    return { ...found, verification };
  });
}

export async function tryMarkDamaged(
  store: CheckpointStore,
  names: readonly string[],
  node: string,
): Promise<void> {
  // The caller reports the damage. A store that rejects writes is reported elsewhere.
  if (names.length > 0) await unlessFailed(markDamaged(store, names, node), "any", undefined);
}

async function compareWithLog(
  manifest: Manifest,
  kvFormat: string,
  log: LogHistory,
): Promise<"agrees" | "trimmed" | CairnError> {
  const identity = await readLogIdentity(log);
  if (identity === undefined) {
    const message = `There is no log "${log.name}" with which the checkpoint could be compared.`;
    return new CairnError("LOG_DIFFERENT", message, "Check the log's address and name.");
  }
  const verdict = await acceptManifest(manifest, kvFormat, log, identity);
  if (verdict === true) return "agrees";
  const isGone = verdict.code === "LOG_TRIMMED" || (await isOfEarlier(manifest, log, identity));
  return isGone ? "trimmed" : verdict;
}

/** Returns whether a checkpoint is of a log that this one continues later, and no backup holds its last message. */
async function isOfEarlier(
  { log: of, txId }: Manifest,
  { earlier }: LogHistory,
  { birth }: LogIdentity,
): Promise<boolean> {
  const end = await earlier.endInCommon(of.id, birth);
  if (end === undefined || txId >= end.last) return false;
  const held = await earlier.find(of.id, birth);
  return held === undefined || txId < held.first;
}

export function checkpointNotFound(store: CheckpointStore, name: string): CairnError {
  return new CairnError(
    "CHECKPOINT_NOT_FOUND",
    `There is no checkpoint ${name} in ${store.location}.`,
    "Choose one of the checkpoints that cairn checkpoint list prints.",
  );
}
