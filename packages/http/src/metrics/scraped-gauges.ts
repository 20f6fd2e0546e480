import { VERSION } from "@cairn/text";
import { systemClock } from "@cairn/kv";
import type { NodeStatus, Phase, QueueStatus } from "@cairn/client";
import { INDEX_VERSION, NODE_FINDINGS, numberSkipped, StatusSchema, type System } from "@cairn/engine";
import type { Instruments } from "./work-metrics.ts";

/** What a scrape found. A source that failed or took too long is undefined. */
export interface Scraped {
  readonly phase: Phase;
  readonly status: NodeStatus | undefined;
  /** None while there is no index. */
  readonly queues: readonly QueueStatus[] | undefined;
}

export type MeasuredSystem = Pick<System, "nodeId"> & {
  readonly checkpointer?:
    | Pick<NonNullable<System["checkpointer"]>, "approxFrequency" | "verifyEvery">
    | undefined;
};

/** Without a value, a gauge is absent rather than 0. */
type Value = number | null | undefined;
/** The series of a gauge: the values of its labels, in order, each with its own value. */
type Series = readonly (readonly [labels: readonly (string | number)[], value: Value])[];
/** The declaration of a gauge: its meaning, its labels, and how its series follow from a scrape. */
type Declared = readonly [help: string, labels: readonly string[], read: (scraped: Scraped) => Series];

const seconds = (iso: string | null | undefined): number | null =>
  iso === null || iso === undefined ? null : Date.parse(iso) / 1_000;
const fromMs = (ms: Value): number | null => (ms === null || ms === undefined ? null : ms / 1_000);

/** The gauges without labels that follow from the status. */
const OF_STATUS: Readonly<Record<string, readonly [help: string, read: (status: NodeStatus) => Value]>> = {
  cairn_log_reachable: [
    "Whether the log responded during this scrape.",
    ({ log: { reachable } }) => (reachable === null ? null : Number(reachable)),
  ],
  cairn_log_last_tx: ["The last transaction of the log.", ({ log }) => log.lastTxId],
  cairn_log_lag_transactions: [
    "How many transactions the index is behind the log.",
    ({ index }) => index.lag,
  ],
  cairn_index_tx: ["The last transaction applied.", ({ index }) => index.txId],
  cairn_index_documents: ["Documents in the index.", ({ index }) => index.documents],
  cairn_index_bytes: ["Size of the index's files.", ({ index }) => index.bytes],
  cairn_attached_tx: [
    "The transaction of the checkpoint from which the node serves stale reads while it restores it; absent otherwise.",
    ({ attached }) => attached?.txId,
  ],
  cairn_join_skipped_checkpoints: [
    "Checkpoints that this node's last join skipped.",
    ({ join }) => numberSkipped(join.skipped),
  ],
  cairn_node_stalled_seconds: [
    "How long the node has made no progress although there is work to do; 0 while it makes progress.",
    ({ stalled }) => (stalled === null ? 0 : stalled.forMs / 1_000),
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
  cairn_checkpoint_last_age_seconds: [
    "Age of the newest checkpoint, by the store's clock.",
    ({ checkpoints: { last } }) => fromMs(last?.ageMs),
  ],
  cairn_checkpoint_verified_age_seconds: [
    "How long ago a checkpoint was last verified, as far as this node knows, by the store's clock.",
    ({ checkpoints: { lastVerified } }) => fromMs(lastVerified?.ageMs),
  ],
  cairn_checkpoint_running_bytes: [
    "Bytes of the index that the current round has packed; absent if none is running.",
    ({ checkpoints: { running } }) => running?.bytes,
  ],
  cairn_log_backup_period_seconds: [
    "The approximate interval at which the cluster writes a segment of the log's backup.",
    ({ logBackup }) => fromMs(logBackup?.everyMs),
  ],
  cairn_log_backup_exposed_transactions: [
    "Transactions of the index that are not in the log's backup yet.",
    ({ logBackup }) => logBackup?.exposed.transactions,
  ],
  cairn_log_backup_exposed_since_timestamp_seconds: [
    "When the oldest transactions that the log's backup lacks were stored; absent if it lacks none.",
    ({ logBackup }) => seconds(logBackup?.exposed.since),
  ],
  cairn_log_backup_holes: [
    "Holes in the log's backup.",
    ({ logBackup }) => (logBackup?.covered ? Math.max(0, logBackup.covered.length - 1) : null),
  ],
  cairn_log_backup_bytes: ["Size of the log's backup.", ({ logBackup }) => logBackup?.bytes],
  cairn_log_backup_unusable_segments: [
    "Segments of the log's backup that this node has found to be damaged or to belong to a different history.",
    ({ logBackup }) => logBackup?.warnings.length,
  ],
  cairn_log_backup_failed_looks: [
    "How many of this node's looks at the log's backup have failed since the last successful one.",
    ({ logBackup }) => logBackup?.failedLooks,
  ],
  cairn_index_disk_free_bytes: [
    "Space on the file system of the index that is available to this user.",
    ({ resources }) => resources.diskFreeBytes,
  ],
  cairn_index_disk_size_bytes: [
    "Size of the file system of the index.",
    ({ resources }) => resources.diskTotalBytes,
  ],
};

const SHARD_STATES = ["active", "draining", "retiring", "spare"] as const;

const constant =
  (value: Value): Declared["2"] =>
  () => [[[], value]];
const ofQueues =
  (read: (queue: QueueStatus) => number): Declared["2"] =>
  ({ queues = [] }) =>
    queues.map((queue) => [[queue.name], read(queue)]);

function otherGauges({ nodeId, checkpointer }: MeasuredSystem): Record<string, Declared> {
  const startedAt = systemClock.now() / 1_000;
  return {
    cairn_build_info: [
      "Always 1; the labels show the node's id and version.",
      ["node", "version", "index_version"],
      () => [[[nodeId, VERSION, INDEX_VERSION], 1]],
    ],
    cairn_node_start_timestamp_seconds: ["When the node was started.", [], constant(startedAt)],
    cairn_checkpoint_period_seconds: [
      "approx-frequency: the approximate interval at which the cluster saves a checkpoint; absent without a checkpointer.",
      [],
      constant(fromMs(checkpointer?.approxFrequency)),
    ],
    cairn_checkpoint_verify_period_seconds: [
      "verify-every: the approximate interval at which the cluster verifies a checkpoint; absent if it is not configured.",
      [],
      constant(fromMs(checkpointer?.verifyEvery)),
    ],
    cairn_node_phase: [
      "1 for the current phase of the node, and 0 for the others.",
      ["phase"],
      (scraped) =>
        StatusSchema.shape.phase.options.map((phase) => [[phase], Number(phase === scraped.phase)]),
    ],
    cairn_node_ready: [
      "Whether the node has caught up with its log and serves reads.",
      [],
      ({ phase }) => [[[], Number(phase === "ready")]],
    ],
    cairn_node_failure: [
      "1 for the error that keeps the node from being ready; absent when there is none.",
      ["code"],
      ({ status }) => (status?.failure ? [[[status.failure.code], 1]] : []),
    ],
    cairn_finding: [
      "1 for what needs attention on the node, and 0 for everything else that could.",
      ["code", "severity"],
      ({ status }) =>
        Object.entries(status === undefined ? {} : NODE_FINDINGS).map(([code, severity]) => [
          [code, severity],
          Number(status?.findings.some((one) => one.code === code)),
        ]),
    ],
    cairn_own_index_tx: [
      "The last transaction in an index of one's own; absent while it is being built, and after it failed.",
      ["index"],
      ({ status }) => (status?.ownIndexes ?? []).map(({ name, txId }) => [[name], txId]),
    ],
    cairn_checkpoint_warning_timestamp_seconds: [
      "When the checkpointer's present warning began, by subject; absent if there is none.",
      ["about"],
      ({ status }) => (status?.checkpoints.warnings ?? []).map(({ about, at }) => [[about], seconds(at)]),
    ],
    cairn_queue_open: ["Open entries of a queue.", ["queue"], ofQueues(({ open }) => open)],
    cairn_queue_entries: [
      "Entries of a queue, open or finished.",
      ["queue"],
      ofQueues(({ entries }) => entries),
    ],
    cairn_queue_shards: [
      "Shards of a queue, by state.",
      ["queue", "state"],
      ({ queues = [] }) =>
        queues.flatMap(({ name, spare, shards }) =>
          SHARD_STATES.map((state) => [
            [name, state],
            state === "spare" ? spare : shards.filter((shard) => shard.state === state).length,
          ]),
        ),
    ],
  };
}

/** Registers the gauges, and returns the function that sets all of them, and removes what is no longer there. */
export function scrapedGauges(make: Instruments, system: MeasuredSystem): (scraped: Scraped) => void {
  const ofStatus = Object.entries(OF_STATUS).map(([name, [help, read]]): [string, Declared] => [
    name,
    [help, [], ({ status }) => [[[], status && read(status)]]],
  ]);
  const gauges = [...ofStatus, ...Object.entries(otherGauges(system))].map(
    ([name, [help, labels, read]]) => ({
      gauge: make.gauge(name, help, ...labels),
      labels,
      read,
    }),
  );
  return (scraped) => {
    for (const { gauge, labels, read } of gauges) {
      gauge.reset();
      // A gauge without labels is 0 after a reset.
      gauge.remove({});
      for (const [values, value] of read(scraped)) {
        if (value === null || value === undefined) continue;
        gauge.set(Object.fromEntries(labels.map((label, at) => [label, values[at] ?? ""])), value);
      }
    }
  };
}
