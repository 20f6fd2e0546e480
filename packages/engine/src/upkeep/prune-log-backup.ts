import { randomBytes } from "node:crypto";
import type { TxId } from "@cairn/client";
import { systemClock } from "@cairn/kv";
import { BackupLog } from "../backup/backup-log.ts";
import { EarlierLogs } from "../backup/earlier-logs.ts";
import { logWithBackup } from "../backup/log-with-backup.ts";
import {
  type BackupPrune,
  planLost,
  planThrough,
  pruneLost,
  pruneThrough,
} from "../backup/write/prune-backup.ts";
import type { LogIdentity } from "../log/log-identity.ts";
import type { BackupTarget } from "../backup/write/write-segments.ts";
import { usableCheckpoint } from "./trim-floor.ts";

interface PruneOptions extends Pick<BackupTarget, "store" | "log" | "node" | "signal"> {
  readonly identity: LogIdentity;
  readonly kvFormat: string;
  /**
   * Remove the segments up to this transaction, also those of logs that this one continues; if undefined, those with
   * transactions that the log lost.
   */
  readonly through: TxId | undefined;
  readonly dryRun: boolean;
}

/**
 * Removes segments from the beginning or the end of a log's backup, and returns which; `inLog` says whether the log
 * still holds them. Throws the errors of {@link planThrough} and {@link planLost}.
 */
export async function pruneLogBackup(
  options: PruneOptions,
): Promise<BackupPrune & { readonly inLog: boolean }> {
  const { store, log, identity, kvFormat, through, dryRun, signal } = options;
  const { id } = identity;
  const offset = identity.birth?.offset ?? (await new BackupLog({ store, logId: id }).offset()) ?? 0;
  const ahead = (await store.now()) - systemClock.now();
  const storeNow = (): number => systemClock.now() + ahead;
  const node = `${options.node} (${randomBytes(4).toString("hex")})`;
  const target = {
    store,
    log,
    of: { id, name: log.name, offset },
    node,
    codec: "none",
    signal,
    storeNow,
  } as const;
  const searched = { log: logWithBackup(log, [store]), stores: [store], kvFormat };
  const verified = through === undefined ? undefined : await usableCheckpoint("newest", searched, identity);
  const upTo = verified !== undefined && "position" in verified ? verified.checkpoint.txId : undefined;
  const earlier = through === undefined ? [] : await new EarlierLogs([store]).endsBefore(identity);
  const plan = await (through === undefined ? planLost(target) : planThrough(target, through, upTo, earlier));
  const { segments, txId } = plan;
  if (!dryRun && through !== undefined && txId > 0) await pruneThrough(target, plan);
  if (!dryRun && through === undefined && segments.length > 0) await pruneLost(target, plan);
  return { ...plan, inLog: (await log.bounds()).first + offset <= (segments[0]?.first ?? txId) };
}
