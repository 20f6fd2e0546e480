import { Counter, Gauge, type Registry } from "prom-client";
import type { CutoffReason } from "../watch/watch-event.ts";

export interface WatchMetrics {
  opened(): void;
  closed(): void;
  cutOff(reason: CutoffReason): void;
}

const REASONS: readonly CutoffReason[] = ["slow", "stopping", "not-ready", "compacted", "regressed"];

/** Registers the metrics of watches, and returns their counters. */
export function watchMetrics(registry: Registry): WatchMetrics {
  const registers = [registry];
  const watchers = new Gauge({ name: "cairn_watchers", help: "Watches that are open now.", registers });
  const cutoffs = new Counter({
    name: "cairn_watch_cutoffs_total",
    help: "Watches that the node ended, by reason. The reason slow means that the watcher reads more slowly than changes arrive.",
    labelNames: ["reason"],
    registers,
  });
  for (const reason of REASONS) cutoffs.inc({ reason }, 0);
  return {
    opened: () => watchers.inc(),
    closed: () => watchers.dec(),
    cutOff: (reason) => cutoffs.inc({ reason }),
  };
}
