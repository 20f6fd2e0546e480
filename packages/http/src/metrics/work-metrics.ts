import type { NodeEvent, NodeEventListener, Work, WorkEnded, WorkResults, NodeMetrics } from "@cairn/engine";
import { Counter, Gauge, Histogram, type Registry } from "prom-client";

/** Buckets in seconds: from a look at a store to an upload that takes hours. */
const SECONDS = [0.01, 0.1, 1, 5, 15, 60, 300, 900, 3_600, 14_400];

/** Counters start at 0, because Prometheus does not treat the step from an absent series to 1 as an increase. */
const OUTCOMES: { readonly [W in Work]: readonly WorkResults[W]["outcome"][] } = {
  checkpoint: ["saved", "empty", "unchanged", "recent", "leased"],
  restore: ["restored", "none"],
  sweep: ["swept"],
  verification: ["verified"],
  scrub: ["whole"],
  backup: ["written", "merged", "unchanged"],
  trim: ["trimmed", "kept"],
};

const REMOVAL_REASONS = ["retention", "leftover", "expired"];

/** The codes of errors which mean that the store does not work properly. */
const STORE_TROUBLE = new Set<string>(["STORE_UNREACHABLE", "STORE_DENIED", "STORE_FULL"]);
/** Tasks that use the node's own store. A restore may read other stores. */
const USES_STORE = new Set<Work>(["checkpoint", "sweep", "verification", "backup"]);

/** Registers the metrics of a node's tasks. Returns the listener that counts tasks by their events. */
export function workMetrics(make: Instruments): NodeEventListener {
  const runs = make.counter("cairn_work_runs_total", "Tasks that ended, by outcome.", "work", "outcome");
  const failures = make.counter(
    "cairn_work_failures_total",
    "Tasks that failed, by error code.",
    "work",
    "code",
  );
  const seconds = make.histogram(
    "cairn_work_duration_seconds",
    "The duration of tasks.",
    SECONDS,
    "work",
    "outcome",
  );
  const bytes = make.counter(
    "cairn_work_bytes_total",
    "Bytes that tasks packed, restored, read back, removed or compared, including failed tasks.",
    "work",
  );
  const running = make.gauge("cairn_work_running", "Whether the task is running.", "work");
  const lastSuccess = make.gauge(
    "cairn_work_last_success_timestamp_seconds",
    "When the task last succeeded on this node; 0 if it has not succeeded since the node was started.",
    "work",
  );
  const lastFailure = make.gauge(
    "cairn_work_last_failure_timestamp_seconds",
    "When the task last failed on this node, except because the node stopped; 0 if it has not failed since the node was started.",
    "work",
  );
  const countDetails = detailMetrics(make);

  for (const work of Object.keys(OUTCOMES) as Work[]) {
    for (const outcome of [...OUTCOMES[work], "failed"]) runs.inc({ work, outcome }, 0);
    bytes.inc({ work }, 0);
    running.set({ work }, 0);
    lastSuccess.set({ work }, 0);
    lastFailure.set({ work }, 0);
  }

  return (event) => {
    const { work } = event;
    if (event.stage === "begun") {
      running.inc({ work });
      return;
    }
    const outcome = event.stage === "ended" ? event.outcome : "failed";
    running.dec({ work });
    runs.inc({ work, outcome });
    seconds.observe({ work, outcome }, event.durationMs / 1_000);
    bytes.inc({ work }, event.bytes);
    const at = Date.parse(event.at) / 1_000;
    if (event.stage === "ended") lastSuccess.set({ work }, at);
    else {
      const { code } = event.error;
      failures.inc({ work, code });
      // `NOT_READY`: the node stopped or joined again, which has nothing to do with the work itself.
      if (code !== "NOT_READY") lastFailure.set({ work }, at);
    }
    countDetails(event);
  };
}

function detailMetrics(make: Instruments): (event: Exclude<NodeEvent, { stage: "begun" }>) => void {
  const removed = make.counter(
    "cairn_sweep_removed_total",
    "Files that sweeps removed from the store, by reason.",
    "reason",
  );
  const undeletable = make.counter(
    "cairn_sweep_failed_removals_total",
    "Files that sweeps failed to remove.",
  );
  const contention = make.counter(
    "cairn_checkpoint_lease_contention_total",
    "Rounds that found the lease of another node (held), or lost their own lease while uploading (lost).",
    "outcome",
  );
  const storeReachable = make.gauge(
    "cairn_store_reachable",
    "Whether the last task that used the checkpoint store could reach it; absent before the first one.",
  );
  for (const reason of REMOVAL_REASONS) removed.inc({ reason }, 0);
  for (const outcome of ["held", "lost"]) contention.inc({ outcome }, 0);
  // The gauge is created with 0, which would report a problem before the first look.
  storeReachable.remove();

  const countEnded = (event: WorkEnded): void => {
    if (event.work === "sweep") {
      for (const { reason } of event.removed) removed.inc({ reason });
      undeletable.inc(event.failed.length);
    } else if (event.outcome === "leased") {
      contention.inc({ outcome: "held" });
    }
  };

  return (event) => {
    const isStoreTrouble = event.stage === "failed" && STORE_TROUBLE.has(event.error.code);
    if (isStoreTrouble) storeReachable.set(0);
    else if (event.stage === "ended" && USES_STORE.has(event.work)) storeReachable.set(1);
    if (event.stage === "ended") countEnded(event);
    else if (event.work === "checkpoint" && event.error.code === "CONFLICT") {
      contention.inc({ outcome: "lost" });
    }
  };
}

/** The codes of errors which mean that the log is incomplete, or is not the one from which the index was built. */
const MISMATCHES = ["LOG_REGRESSED", "LOG_DIFFERENT", "LOG_TRIMMED", "LOG_GAP"];

/** Buckets in seconds: from one transaction on a fast disk to a large array on a slow disk. */
const APPLY_SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5];

export function followingMetrics(make: Instruments): NodeMetrics["following"] {
  const transactions = make.counter(
    "cairn_applied_transactions_total",
    "Transactions that this process applied to its index. Uncommitted ones were aborted or repeated.",
    "outcome",
  );
  const operations = make.counter(
    "cairn_applied_operations_total",
    "Operations of the committed transactions that were applied.",
  );
  const bytes = make.counter("cairn_applied_bytes_total", "Bytes of the log's messages that were applied.");
  const seconds = make.histogram(
    "cairn_apply_duration_seconds",
    "Time taken to apply a batch of at most 500 messages.",
    APPLY_SECONDS,
  );
  const readings = make.counter(
    "cairn_log_readings_total",
    "How often the node began to read the log: at the start, and after each interruption or recreated consumer.",
  );
  const mismatches = make.counter(
    "cairn_log_mismatches_total",
    "How often the log turned out not to continue the index, by error code.",
    "code",
  );
  const interruptions = make.counter(
    "cairn_node_interruptions_total",
    "Errors that interrupted a node while it was joining or following the log, by code. The node then tries again or halts.",
    "code",
  );
  for (const code of MISMATCHES) mismatches.inc({ code }, 0);
  for (const outcome of ["committed", "uncommitted"]) transactions.inc({ outcome }, 0);

  return {
    applied(counts, took) {
      transactions.inc({ outcome: "committed" }, counts.committed);
      transactions.inc({ outcome: "uncommitted" }, counts.transactions - counts.committed);
      operations.inc(counts.operations);
      bytes.inc(counts.bytes);
      seconds.observe(took);
    },
    reading: () => readings.inc(),
    left(code) {
      interruptions.inc({ code });
      if (MISMATCHES.includes(code)) mismatches.inc({ code });
    },
  };
}

export class Instruments {
  readonly #registers: Registry[];

  constructor(registry: Registry) {
    this.#registers = [registry];
  }

  counter<L extends string>(name: string, help: string, ...labelNames: L[]): Counter<L> {
    return new Counter({ name, help, labelNames, registers: this.#registers });
  }

  gauge<L extends string>(name: string, help: string, ...labelNames: L[]): Gauge<L> {
    return new Gauge({ name, help, labelNames, registers: this.#registers });
  }

  histogram<L extends string>(
    name: string,
    help: string,
    buckets: number[],
    ...labelNames: L[]
  ): Histogram<L> {
    return new Histogram({ name, help, buckets, labelNames, registers: this.#registers });
  }
}
