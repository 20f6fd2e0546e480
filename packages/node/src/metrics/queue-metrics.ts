import type { QueueStatus } from "@cairn/client";
import { Gauge, type Registry } from "prom-client";

const STATES = ["active", "draining", "retiring", "spare"] as const;

/** Registers the metrics of queues. The result sets them; without queues, all are absent. */
export function queueMetrics(registry: Registry): (queues: readonly QueueStatus[] | undefined) => void {
  const registers = [registry];
  const open = new Gauge({
    name: "cairn_queue_open",
    help: "Open entries of a queue.",
    labelNames: ["queue"],
    registers,
  });
  const entries = new Gauge({
    name: "cairn_queue_entries",
    help: "Entries of a queue, open or finished.",
    labelNames: ["queue"],
    registers,
  });
  const shards = new Gauge({
    name: "cairn_queue_shards",
    help: "Shards of a queue, by state.",
    labelNames: ["queue", "state"],
    registers,
  });
  return (queues = []) => {
    // A queue that was removed must not keep its last values.
    for (const gauge of [open, entries, shards]) gauge.reset();
    for (const queue of queues) {
      open.set({ queue: queue.name }, queue.open);
      entries.set({ queue: queue.name }, queue.entries);
      for (const state of STATES) {
        const count =
          state === "spare" ? queue.spare : queue.shards.filter((shard) => shard.state === state).length;
        shards.set({ queue: queue.name, state }, count);
      }
    }
  };
}
