import type { Failure, LogBackupStatus, NodeStatus } from "@cairn/client";
import { CairnError } from "@cairn/kv";
import { holesOf, missingInBackup, surveyBackup, type TxRange } from "@cairn/engine";
import { formatBytes, formatCount, formatRelative } from "@cairn/text";
import { command } from "../../options/command.ts";
import { askNode, NODE_OPTIONS } from "../../options/node-address.ts";
import { BACKUP_LOG, type BackupPlace, openBackup } from "../../places/backup-place.ts";
import { checkpointSource } from "../../places/checkpoint-place.ts";
import { exposedText, rangeText } from "../../terminal/backup-text.ts";
import { type Field, formatFields } from "../../terminal/columns.ts";

/** The output of the command. A field is null if the source of information does not provide it. */
interface BackupReport extends Pick<
  LogBackupStatus,
  "location" | "covered" | "segments" | "bytes" | "exposed"
> {
  readonly logId: string | null;
  /** `inLog` is true if the log still holds the transactions, so that a node will write them again. */
  readonly holes: readonly (TxRange & { readonly inLog: boolean | null })[];
  readonly newestAt: string | null;
  readonly foreign: readonly string[];
  readonly warnings: LogBackupStatus["warnings"];
  readonly lastFailure: Failure | null;
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
    await run.report(report, formatReport(report, Date.now()));
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
  const holes = holesOf(covered ?? []).map((hole) => {
    const { firstTxId: first, lastTxId: last } = log;
    return { ...hole, inLog: first === null || last === null ? null : isWithin(hole, { first, last }) };
  });
  return { ...logBackup, logId: log.id, holes, newestAt: null, foreign: [] };
}

async function ofStore({ store, logId, configured }: BackupPlace): Promise<BackupReport> {
  const { compared, holes, ...found } = await surveyBackup(store, logId, configured?.log);
  const { covered, segments, newestAt, foreign } = found;
  return {
    location: store.location,
    logId,
    covered,
    holes: holes.map((hole) => ({ ...hole, inLog: compared ? isWithin(hole, compared) : null })),
    segments: segments.length,
    bytes: segments.reduce((sum, { bytes }) => sum + bytes, 0),
    newestAt,
    exposed: compared?.exposed ?? { transactions: null, since: null },
    foreign,
    warnings: [],
    lastFailure: compared?.failure ?? null,
  };
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
  const ranges = covered?.map(rangeText).join(", ") || "nothing";
  return formatFields([
    ["Store", location],
    ["Log", logId ?? "unknown"],
    ["Covered", covered === null ? "unknown until the node has looked" : ranges],
    ...holes.map((hole): Field => [
      "Hole",
      hole.inLog === true
        ? `LOG_GAP: The backup lacks ${rangeText(hole)}. The log still holds them, so a node writes them again within six hours.`
        : describe(missingInBackup(hole, location)),
    ]),
    ["Segments", size],
    ["Newest", newestAt && formatRelative(newestAt, now)],
    ["Exposed", exposedText(report, now)],
    ...foreign.map((name): Field => ["Foreign", `${name} is not a file of a log backup`]),
    ...warnings.map((one): Field => ["Warning", describe(one)]),
    ["Failure", lastFailure && describe(lastFailure)],
  ]);
}

function isWithin(hole: TxRange, log: TxRange): boolean {
  return log.first <= hole.first && hole.last <= log.last;
}

function describe({ code, message, hint = null }: Failure | CairnError): string {
  return `${code}: ${message} ${hint ?? ""}`.trimEnd();
}
