import type { Instruments } from "./instruments.ts";
import type { NodeMetrics } from "@cairn/engine";

/** The codes of errors which mean that the log is incomplete, or is not the one from which the index was built. */
const MISMATCHES = ["LOG_REGRESSED", "LOG_DIFFERENT", "LOG_TRIMMED", "LOG_GAP"];

/** Buckets in seconds: from one transaction on a fast disk to a large array on a slow disk. */
const SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5];

/** Registers the metrics of the code that follows the log, and returns their counters. */
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
    SECONDS,
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
