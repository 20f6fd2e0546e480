import type { LogBackupStatus, NodeStatus, TxId } from "@cairn/client";
import { CairnError, isCairnError } from "@cairn/kv";
import {
  BackupLog,
  type BackupListing,
  beginOfBackup,
  coveredRanges,
  listBackup,
  missingIn,
  newestOf,
  holesOf,
  requireSameHistory,
  readLogIdentity,
} from "@cairn/engine";
import { formatBytes, formatCount, formatRelative } from "@cairn/text";
import { command } from "../../options/command.ts";
import { askNode, NODE_OPTIONS } from "../../options/node-address.ts";
import { BACKUP_LOG, type BackupPlace, openBackup } from "../../places/backup-place.ts";
import { checkpointSource } from "../../places/checkpoint-place.ts";
import { exposedText, rangeText } from "../../terminal/backup-text.ts";
import { formatFields } from "../../terminal/columns.ts";
import { printable } from "../../terminal/terminal.ts";

/** The output of the command. A field is null if the source of information does not provide it. */
interface BackupReport extends Pick<
  LogBackupStatus,
  "location" | "covered" | "segments" | "bytes" | "exposed"
> {
  readonly logId: string | null;
  /** `inLog` is true if the log still holds the transactions, so that a node will write them again. */
  readonly holes: readonly { readonly first: TxId; readonly last: TxId; readonly inLog: boolean | null }[];
  readonly newestAt: string | null;
  readonly foreign: readonly string[];
  readonly warnings: LogBackupStatus["warnings"];
  readonly lastFailure: LogBackupStatus["lastFailure"];
}

export const addLogBackupStatus = command({
  syntax: "status [store]",
  description:
    "Show the content of a log backup as a node reports it, or, without a node, in the configured store (-f), in a folder or in s3://bucket/prefix",
  examples: [
    "cairn log backup status",
    "cairn log backup status -f cairn.edn",
    "cairn log backup status s3://bucket/prefix",
  ],
  options: { ...NODE_OPTIONS, log: BACKUP_LOG },
  async act(run, place) {
    const report =
      checkpointSource(place, run.options).kind === "node"
        ? ofNode(await askNode<NodeStatus>(run, { path: "/status" }))
        : await ofStore(await openBackup(run, place, { withoutLog: true }));
    await run.answer(report, formatReport(report, Date.now()));
  },
});

function ofNode({ node, log, logBackup }: NodeStatus): BackupReport {
  if (logBackup === null) {
    throw new CairnError(
      "NOT_FOUND",
      `The node ${node} keeps no log backup, or is not ready yet.`,
      'Query a ready node with "log-backup" in its checkpointer, or inspect a store directly: cairn log backup status STORE.',
    );
  }
  const { covered } = logBackup;
  const holes = holesOf(covered ?? [], []).map((hole) => {
    const inLog = log.firstTxId === null ? null : log.firstTxId <= hole.first;
    return { ...hole, inLog };
  });
  return { ...logBackup, logId: log.id, holes, newestAt: null, foreign: [] };
}

async function ofStore(place: BackupPlace): Promise<BackupReport> {
  const { store, logId } = place;
  const listing = await listBackup(store, logId);
  const { segments, foreign, begins } = listing;
  const covered = coveredRanges(segments);
  const log = await ofLog(place, listing);
  const newest = newestOf(segments);
  return {
    location: store.location,
    logId,
    covered,
    holes: holesOf(covered, begins).map((hole) => ({
      ...hole,
      inLog: log === undefined ? null : log.first <= hole.first,
    })),
    segments: segments.length,
    bytes: segments.reduce((sum, { bytes }) => sum + bytes, 0),
    newestAt: newest === undefined ? null : new Date(newest).toISOString(),
    exposed: log?.exposed ?? UNKNOWN,
    foreign,
    warnings: [],
    lastFailure: log?.failure ?? null,
  };
}

const UNKNOWN = { transactions: null, since: null };

/** The result of comparing a log with its backup. */
interface Comparison {
  readonly first: TxId;
  readonly exposed: LogBackupStatus["exposed"];
  /** The reason why the backup is not continued. */
  readonly failure?: LogBackupStatus["lastFailure"];
}

/** Compares a backup with the configured log to find transactions that the backup lacks. */
async function ofLog(
  { configured, store, logId }: BackupPlace,
  listing: BackupListing,
): Promise<Comparison | undefined> {
  if (configured === undefined) return undefined;
  const { log } = configured;
  const { segments } = listing;
  // The bounds are read after the segments have been listed, so that no exposed transaction is missed.
  const identity = await readLogIdentity(log);
  const offset = identity?.birth?.offset ?? (await new BackupLog({ store, logId }).offset());
  if (identity === undefined || offset === undefined) return undefined;
  const { bounds } = identity;
  const last = bounds.last + offset;
  const first = bounds.first + offset;
  try {
    await requireSameHistory({ log, store, of: { id: logId, offset } }, segments, last);
  } catch (error) {
    if (!isCairnError(error, "LOG_REGRESSED") && !isCairnError(error, "LOG_TRIMMED")) throw error;
    const { code, message, hint = null } = error;
    return { first, exposed: UNKNOWN, failure: { code, message, hint } };
  }
  const range = { first: Math.max(first, beginOfBackup(listing, last)), last };
  const missing = missingIn(coveredRanges(segments), range);
  const oldest = missing.first === undefined ? undefined : await log.fetch(missing.first - offset);
  const since = oldest === undefined ? null : new Date(oldest.time).toISOString();
  return { first, exposed: { transactions: missing.count, since } };
}

function formatReport(report: BackupReport, now: number): string {
  const { location, logId, covered, holes, segments, bytes, newestAt, foreign, warnings, lastFailure } =
    report;
  const size =
    segments === null || bytes === null
      ? "unknown"
      : segments === 0
        ? "none"
        : `${formatCount(segments)}, ${formatBytes(bytes)}`;
  const ranges = covered === null ? "unknown" : covered.map(rangeText).join(", ") || "nothing";
  const fields: [string, string][] = [
    ["Store", location],
    ["Log", logId ?? "unknown"],
    ["Covered", covered === null ? "unknown until the node has looked" : ranges],
    ...holes.map((hole): [string, string] => [
      "Hole",
      `LOG_GAP: The backup lacks ${rangeText(hole)}. ${filler(hole.inLog)}`,
    ]),
    ["Segments", size],
    ...(newestAt === null ? [] : [["Newest", formatRelative(newestAt, now)] as [string, string]]),
    ["Exposed", exposedText(report, now)],
    ...foreign.map((name): [string, string] => ["Foreign", `${name} is not a file of a log backup`]),
    ...warnings.map(({ code, message, hint }): [string, string] => [
      "Warning",
      `${code}: ${message} ${hint}`,
    ]),
  ];
  if (lastFailure !== null) {
    const { code, message, hint } = lastFailure;
    fields.push(["Failure", `${code}: ${message} ${hint ?? ""}`.trimEnd()]);
  }
  return formatFields(fields.map(([name, value]) => [name, printable(value)]));
}

function filler(inLog: boolean | null): string {
  if (inLog === null) return "If the log still holds them, a node writes them again at its next look.";
  return inLog
    ? "The log still holds them, so a node writes them again at its next look."
    : "The log no longer holds them, so save a checkpoint beyond them: cairn checkpoint create.";
}
