import type { CheckpointStore } from "@cairn/checkpoint";
import { isCairnError } from "@cairn/kv";
import { asFailure } from "../observe/failures.ts";
import { readLogIdentity } from "../log/log-identity.ts";
import type { TxLog } from "../log/tx-log.ts";
import { BackupLog } from "./backup-log.ts";
import { reachedBy } from "./segments/backup-view.ts";
import {
  type BackupListing,
  beginOfBackup,
  coveredRanges,
  holesOf,
  listBackup,
  missingIn,
  newestOf,
} from "./segments/segment-name.ts";
import { requireSameHistory } from "./write/write-segments.ts";

/** Lists the backup of a log and, given the log itself, compares them to find transactions that the backup lacks. */
export async function surveyBackup(store: CheckpointStore, logId: string, log?: TxLog) {
  const reached = await reachedBy(store, logId);
  const listing = await listBackup(store, logId);
  const { segments, foreign } = listing;
  const covered = coveredRanges(segments);
  const newest = newestOf(segments);
  const compared = log && (await compareWithLog(log, store, logId, listing));
  // The names alone do not show where the log begins.
  const last = Math.max(covered.at(-1)?.last ?? 0, reached);
  const unknown = { begin: beginOfBackup(listing, (covered[0]?.first ?? 1) - 1, last) };
  return {
    covered,
    holes: holesOf(covered, (compared ?? unknown).begin, reached),
    segments,
    newestAt: newest === undefined ? null : new Date(newest).toISOString(),
    foreign,
    compared,
  };
}

/** A complete backup begins with `begin`. `failure` is the reason why it is not continued. Undefined without an offset. */
async function compareWithLog(log: TxLog, store: CheckpointStore, logId: string, listing: BackupListing) {
  const { segments } = listing;
  // The bounds are read after the segments have been listed, so that no exposed transaction is missed.
  const identity = await readLogIdentity(log);
  const offset = identity?.birth?.offset ?? (await new BackupLog({ store, logId }).offset());
  if (identity === undefined || offset === undefined) return undefined;
  const begin = beginOfBackup(listing, offset, identity.bounds.last + offset);
  const [first, last] = [identity.bounds.first + offset, identity.bounds.last + offset];
  try {
    await requireSameHistory({ log, store, of: { id: logId, offset } }, segments, last);
  } catch (error) {
    if (!isCairnError(error, "LOG_REGRESSED", "LOG_TRIMMED")) throw error;
    return { first, last, begin, exposed: { transactions: null, since: null }, failure: asFailure(error) };
  }
  const range = { first: Math.max(first, begin), last };
  const missing = missingIn(coveredRanges(segments), range);
  const oldest = missing.first === undefined ? undefined : await log.fetch(missing.first - offset);
  const since = oldest === undefined ? null : new Date(oldest.time).toISOString();
  return { first, last, begin, exposed: { transactions: missing.count, since }, failure: null };
}
