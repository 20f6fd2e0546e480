import type { Instruments } from "./instruments.ts";
import type { NodeStatus, Phase } from "@cairn/client";
import { PHASES } from "../api/status-schema.ts";
import { NODE_FINDINGS } from "../findings/findings.ts";

/** A function that reads the value of a gauge from a status. Without a value, the gauge is absent rather than 0. */
type Reading = (status: NodeStatus) => number | null | undefined;

const seconds = (iso: string | null | undefined): number | null =>
  iso === null || iso === undefined ? null : Date.parse(iso) / 1_000;
const fromMs = (ms: number | null | undefined): number | null =>
  ms === null || ms === undefined ? null : ms / 1_000;

const READINGS: Readonly<Record<string, readonly [help: string, read: Reading]>> = {
  cairn_log_reachable: [
    "Whether the log responded during this scrape.",
    ({ log: { reachable } }) => (reachable === null ? null : Number(reachable)),
  ],
  cairn_log_first_tx: ["The first transaction that the log still holds.", ({ log }) => log.firstTxId],
  cairn_log_last_tx: ["The last transaction of the log.", ({ log }) => log.lastTxId],
  cairn_log_lag_transactions: [
    "How many transactions the index is behind the log.",
    ({ index }) => index.lag,
  ],
  cairn_index_tx: ["The last transaction applied.", ({ index }) => index.txId],
  cairn_index_tx_timestamp_seconds: [
    "The log's time of the last transaction applied.",
    ({ index }) => seconds(index.txTime),
  ],
  cairn_index_divergence: [
    "1 while another node or a checkpoint has a different past and it is not known which one is right; otherwise 0.",
    ({ index }) => Number(index.divergence !== null),
  ],
  cairn_index_documents: ["Documents in the index.", ({ index }) => index.documents],
  cairn_index_bytes: ["Size of the index's files.", ({ index }) => index.bytes],
  cairn_join_skipped_checkpoints: [
    "Checkpoints that this node's last join skipped.",
    ({ join }) => join.skipped.length,
  ],
  cairn_join_moved_aside_indexes: [
    "Local indexes that this node's last join moved aside.",
    ({ join }) => join.movedAside.length,
  ],
  cairn_join_replayed_transactions: [
    "Transactions replayed after the checkpoint or the local index when the node joined.",
    ({ join }) => join.replayed,
  ],
  cairn_join_ready_after_seconds: [
    "How long the node took from its start until it was ready.",
    ({ join }) => fromMs(join.readyAfterMs),
  ],
  cairn_node_stalled_seconds: [
    "How long the node has made no progress although there is work to do; 0 while it makes progress.",
    ({ stalled }) => (stalled === null ? 0 : stalled.forMs / 1_000),
  ],
  cairn_join_progress_ratio: [
    "The completed fraction of the restore or the replay, from 0 to 1; absent if none is running.",
    ({ progress }) => (progress === null || progress.total === 0 ? null : progress.done / progress.total),
  ],
  cairn_orphan_transactions: [
    "Transactions that the log lost and that only indexes in quarantine contain.",
    ({ join }) => join.orphans,
  ],
  cairn_checkpoint_last_tx: [
    "The transaction of the newest known checkpoint of the log, regardless of which node saved it.",
    ({ checkpoints: { last } }) => last?.txId,
  ],
  cairn_checkpoint_last_bytes: ["Size of the newest checkpoint.", ({ checkpoints: { last } }) => last?.bytes],
  cairn_checkpoint_last_timestamp_seconds: [
    "When the newest checkpoint was taken, by the store's clock.",
    ({ checkpoints: { last } }) => seconds(last?.takenAt),
  ],
  cairn_checkpoint_last_age_seconds: [
    "Age of the newest checkpoint, by the store's clock.",
    ({ checkpoints: { last } }) => fromMs(last?.ageMs),
  ],
  cairn_checkpoint_verified_tx: [
    "The transaction of the checkpoint that any node verified most recently.",
    ({ checkpoints: { lastVerified } }) => lastVerified?.txId,
  ],
  cairn_checkpoint_verified_timestamp_seconds: [
    "When a checkpoint was last verified, by the store's clock.",
    ({ checkpoints: { lastVerified } }) => seconds(lastVerified?.verifiedAt),
  ],
  cairn_checkpoint_verified_age_seconds: [
    "How long ago a checkpoint was last verified, by the store's clock.",
    ({ checkpoints: { lastVerified } }) => fromMs(lastVerified?.ageMs),
  ],
  cairn_checkpoint_short_tail: [
    "Whether this node's last round saved nothing because replaying the transactions after the newest checkpoint is within replay-budget.",
    ({ checkpoints: { skipped } }) => Number(skipped?.reason === "short-tail"),
  ],
  cairn_checkpoint_running_bytes: [
    "Bytes of the index that the current round has packed; absent if none is running.",
    ({ checkpoints: { running } }) => running?.bytes,
  ],
  cairn_log_backup_period_seconds: [
    "The approximate interval at which the cluster writes a segment of the log's backup.",
    ({ logBackup }) => fromMs(logBackup?.everyMs),
  ],
  cairn_log_backup_last_tx: [
    "The last transaction of the log's backup.",
    ({ logBackup }) => logBackup?.covered?.at(-1)?.last,
  ],
  cairn_log_backup_exposed_transactions: [
    "Transactions of the index that are not in the log's backup yet.",
    ({ logBackup }) => logBackup?.exposed.transactions,
  ],
  cairn_log_backup_exposed_since_timestamp_seconds: [
    "When the oldest transactions that the log's backup lacks were indexed; absent if it lacks none.",
    ({ logBackup }) => seconds(logBackup?.exposed.since),
  ],
  cairn_log_backup_holes: [
    "Holes in the log's backup.",
    ({ logBackup }) => (logBackup?.covered ? Math.max(0, logBackup.covered.length - 1) : null),
  ],
  cairn_log_backup_segments: ["Segments of the log's backup.", ({ logBackup }) => logBackup?.segments],
  cairn_log_backup_bytes: ["Size of the log's backup.", ({ logBackup }) => logBackup?.bytes],
  cairn_log_backup_unusable_segments: [
    "Segments of the log's backup that this node has found to be damaged or to belong to a different history.",
    ({ logBackup }) => logBackup?.warnings.length,
  ],
  cairn_log_backup_failed_looks: [
    "How many of this node's looks at the log's backup have failed since the last successful one.",
    ({ logBackup }) => logBackup?.failedLooks,
  ],
  cairn_log_backup_last_look_timestamp_seconds: [
    "When this node last looked at the log's backup successfully.",
    ({ logBackup }) => seconds(logBackup?.lastLookAt),
  ],
  cairn_log_backup_next_look_timestamp_seconds: [
    "When this node next looks at the log's backup.",
    ({ logBackup }) => seconds(logBackup?.nextLookAt),
  ],
  cairn_checkpoint_next_look_timestamp_seconds: [
    "When this node next looks at the store.",
    ({ checkpoints: { nextCheckAt } }) => seconds(nextCheckAt),
  ],
};

export interface StatusMetrics {
  /** Sets the phase, which is always known. */
  phase(phase: Phase): void;
  /** Sets the gauges of a status. Removes them if the status is undefined because it took too long. */
  status(status: NodeStatus | undefined): void;
}

/** Registers the metrics of the status, and returns their gauges. */
export function statusMetrics(make: Instruments): StatusMetrics {
  const gauges = Object.entries(READINGS).map(([name, [help, read]]) => ({
    gauge: make.gauge(name, help),
    read,
  }));
  const phases = make.gauge(
    "cairn_node_phase",
    "1 for the current phase of the node, and 0 for the others.",
    "phase",
  );
  const ready = make.gauge(
    "cairn_node_ready",
    "Whether the node has caught up with its log and serves reads.",
  );
  const failure = make.gauge(
    "cairn_node_failure",
    "1 for the error that keeps the node from being ready; absent when there is none.",
    "code",
  );
  const finding = make.gauge(
    "cairn_finding",
    "1 for what needs attention on the node, and 0 for everything else that could.",
    "code",
    "severity",
  );
  const warning = make.gauge(
    "cairn_checkpoint_warning_timestamp_seconds",
    "When the checkpointer last warned, by subject; absent if it has not.",
    "about",
  );
  for (const phase of PHASES) phases.set({ phase }, 0);
  for (const [code, severity] of Object.entries(NODE_FINDINGS)) finding.set({ code, severity }, 0);
  return {
    phase(now) {
      for (const phase of PHASES) phases.set({ phase }, Number(phase === now));
      ready.set(Number(now === "ready"));
    },
    status(status) {
      for (const { gauge, read } of gauges) {
        const value = status === undefined ? undefined : read(status);
        if (value === null || value === undefined) gauge.remove();
        else gauge.set(value);
      }
      failure.reset();
      if (status?.failure) failure.set({ code: status.failure.code }, 1);
      finding.reset();
      for (const [code, severity] of Object.entries(status === undefined ? {} : NODE_FINDINGS))
        finding.set({ code, severity }, Number(status?.findings.some((one) => one.code === code)));
      warning.reset();
      for (const { about, at } of status?.checkpoints.warnings ?? []) {
        warning.set({ about }, Date.parse(at) / 1_000);
      }
    },
  };
}
