import { systemClock } from "@cairn/checkpoint";
import { statfs } from "node:fs/promises";
import { collectDefaultMetrics, type Counter, type Gauge, Registry } from "prom-client";
import type { NodeStatus, Phase, QueueStatus } from "@cairn/client";
import type { NodeEventListener } from "../observe/node-event.ts";
import { TIMED_OUT, withTimeout } from "../concurrency/time-limit.ts";
import { INDEX_VERSION } from "../index/rows/index-state.ts";
import type { System } from "../api/system.ts";
import type { CutoffReason } from "../watch/watch-event.ts";
import { VERSION } from "../api/version.ts";
import { Instruments } from "./instruments.ts";
import { type FollowingMetrics, followingMetrics } from "./following-metrics.ts";
import { type AnsweredRequest, httpMetrics } from "./http-metrics.ts";
import { type StatusMetrics, statusMetrics } from "./status-metrics.ts";
import { workMetrics } from "./work-metrics.ts";

export interface ScrapeSources {
  readonly phase: Phase;
  status(): Promise<NodeStatus>;
  /** Returns the queues; none while there is no index. */
  queues(): Promise<readonly QueueStatus[]>;
}

/** The parts of a node's system that appear in metrics. */
export type MeasuredSystem = Pick<System, "nodeId" | "dbDir" | "scrubEvery"> & {
  readonly checkpointer?:
    | Pick<NonNullable<System["checkpointer"]>, "approxFrequency" | "verifyEvery">
    | undefined;
};

/** Less than the 10 s for which Prometheus waits by default. The log alone may take 2 s. */
const SOURCE_TIMEOUT_MS = 4_000;

/** The metrics of one node, in a separate registry, because a process may have several nodes. */
export class NodeMetrics {
  readonly registry = new Registry();
  readonly following: FollowingMetrics;
  readonly watches: WatchMetrics;
  readonly onEvent: NodeEventListener;
  readonly onRequest: (request: AnsweredRequest) => void;
  readonly onBarrier: () => void;
  readonly #status: StatusMetrics;
  readonly #queues: ReturnType<typeof queueMetrics>;
  readonly #disk: { readonly free: Gauge; readonly size: Gauge };
  readonly #failures: Counter<"source">;
  readonly #dbDir: string;
  readonly #onError: (source: string, error: unknown) => void;
  #scraping: Promise<string> | undefined;

  /** `onError` receives the error of a source that failed; the scrape continues without that source. */
  constructor(system: MeasuredSystem, onError: (source: string, error: unknown) => void) {
    const make = new Instruments(this.registry);
    this.#dbDir = system.dbDir;
    this.#onError = onError;
    this.following = followingMetrics(make);
    this.watches = watchMetrics(make);
    this.onEvent = workMetrics(make);
    this.onRequest = httpMetrics(this.registry);
    this.#status = statusMetrics(make);
    this.#queues = queueMetrics(make);
    this.#disk = diskMetrics(make);
    this.#failures = make.counter(
      "cairn_scrape_failures_total",
      "Scrapes that continued without a source, because it failed or did not respond within 4 s.",
      "source",
    );
    for (const source of ["status", "queues", "disk"]) this.#failures.inc({ source }, 0);
    const barriers = make.counter(
      "cairn_read_barriers_total",
      "Messages that this node appended to the log for linearizable reads.",
    );
    this.onBarrier = () => barriers.inc();
    setConstants(make, system);
  }

  /**
   * Returns the metrics in the Prometheus format. Concurrent scrapes share one result. Sources that do not respond
   * within `limitMs` are omitted.
   */
  async text(sources: ScrapeSources, limitMs = SOURCE_TIMEOUT_MS): Promise<string> {
    this.#scraping ??= this.#scrape(sources, limitMs).finally(() => {
      this.#scraping = undefined;
    });
    return await this.#scraping;
  }

  async #scrape(sources: ScrapeSources, limitMs: number): Promise<string> {
    this.#status.phase(sources.phase);
    const [status, queues, disk] = await Promise.all([
      this.#ask("status", sources.status(), limitMs),
      this.#ask("queues", sources.queues(), limitMs),
      this.#ask("disk", statfs(this.#dbDir), limitMs),
    ]);
    this.#status.status(status);
    this.#queues(queues);
    setOrRemove(this.#disk.free, disk && disk.bavail * disk.bsize);
    setOrRemove(this.#disk.size, disk && disk.blocks * disk.bsize);
    return `${await this.registry.metrics()}\n${await processMetrics().metrics()}`;
  }

  /** Returns the result of a source. If the source fails or takes too long, reports that and returns undefined. */
  async #ask<T>(source: string, answer: Promise<T>, limitMs: number): Promise<T | undefined> {
    try {
      const first = await withTimeout(answer, limitMs);
      if (first !== TIMED_OUT) return first;
      throw new Error(`it did not respond within ${limitMs} ms`);
    } catch (error) {
      // A failed source must not hide the other metrics, which are needed most when a node has a problem.
      this.#failures.inc({ source });
      this.#onError(source, error);
      return undefined;
    }
  }
}

export interface WatchMetrics {
  opened(): void;
  closed(): void;
  cutOff(reason: CutoffReason): void;
}

const CUTOFF_REASONS: readonly CutoffReason[] = ["slow", "stopping", "not-ready", "compacted", "regressed"];

/** Registers the metrics of watches, and returns their counters. */
function watchMetrics(make: Instruments): WatchMetrics {
  const watchers = make.gauge("cairn_watchers", "Watches that are open now.");
  const cutoffs = make.counter(
    "cairn_watch_cutoffs_total",
    "Watches that the node ended, by reason. The reason slow means that the watcher reads more slowly than changes arrive.",
    "reason",
  );
  for (const reason of CUTOFF_REASONS) cutoffs.inc({ reason }, 0);
  return {
    opened: () => watchers.inc(),
    closed: () => watchers.dec(),
    cutOff: (reason) => cutoffs.inc({ reason }),
  };
}

const SHARD_STATES = ["active", "draining", "retiring", "spare"] as const;

/** Registers the metrics of queues. The result sets them; without queues, all are absent. */
function queueMetrics(make: Instruments): (queues: readonly QueueStatus[] | undefined) => void {
  const open = make.gauge("cairn_queue_open", "Open entries of a queue.", "queue");
  const entries = make.gauge("cairn_queue_entries", "Entries of a queue, open or finished.", "queue");
  const shards = make.gauge("cairn_queue_shards", "Shards of a queue, by state.", "queue", "state");
  return (queues = []) => {
    // A queue that was removed must not keep its last values.
    for (const gauge of [open, entries, shards]) gauge.reset();
    for (const queue of queues) {
      open.set({ queue: queue.name }, queue.open);
      entries.set({ queue: queue.name }, queue.entries);
      for (const state of SHARD_STATES) {
        const count =
          state === "spare" ? queue.spare : queue.shards.filter((shard) => shard.state === state).length;
        shards.set({ queue: queue.name, state }, count);
      }
    }
  };
}

function diskMetrics(make: Instruments): { free: Gauge; size: Gauge } {
  const free = make.gauge(
    "cairn_index_disk_free_bytes",
    "Space on the file system of the index that is available to this user.",
  );
  const size = make.gauge("cairn_index_disk_size_bytes", "Size of the file system of the index.");
  return { free, size };
}

/** Registers metrics that do not change while a node runs. */
function setConstants(make: Instruments, { nodeId, checkpointer, scrubEvery }: MeasuredSystem): void {
  make
    .gauge(
      "cairn_build_info",
      "Always 1; the labels show the node's id and version.",
      "node",
      "version",
      "index_version",
    )
    .set({ node: nodeId, version: VERSION, index_version: INDEX_VERSION }, 1);
  make
    .gauge("cairn_node_start_timestamp_seconds", "When the node was started.")
    .set(systemClock.now() / 1_000);
  const period = make.gauge(
    "cairn_checkpoint_period_seconds",
    "approx-frequency: the approximate interval at which the cluster saves a checkpoint; absent without a checkpointer.",
  );
  const verifyPeriod = make.gauge(
    "cairn_checkpoint_verify_period_seconds",
    "verify-every: the approximate interval at which the cluster verifies a checkpoint; absent if it is not configured.",
  );
  const scrubPeriod = make.gauge(
    "cairn_index_scrub_period_seconds",
    "scrub-every: the interval at which all tables of the index are compared with their checksums; absent if they are not.",
  );
  setOrRemove(scrubPeriod, scrubEvery && scrubEvery / 1_000);
  setOrRemove(period, checkpointer && checkpointer.approxFrequency / 1_000);
  setOrRemove(verifyPeriod, checkpointer?.verifyEvery && checkpointer.verifyEvery / 1_000);
}

function setOrRemove(gauge: Gauge, value: number | undefined): void {
  if (value === undefined) gauge.remove();
  else gauge.set(value);
}

let ofProcess: Registry | undefined;

/** Gauges with names that only counters may have. Each is the sum of another gauge, which reports values by type. */
const MISNAMED = [
  "nodejs_active_resources_total",
  "nodejs_active_handles_total",
  "nodejs_active_requests_total",
];

/**
 * Returns the metrics of this process and of Node under the names that the client library gives them, except the
 * misnamed ones. All nodes of a process share them. Collection begins with the first call, because it costs time to
 * observe the garbage collector and the event loop.
 */
export function processMetrics(): Registry {
  if (ofProcess === undefined) {
    ofProcess = new Registry();
    collectDefaultMetrics({ register: ofProcess });
    for (const name of MISNAMED) ofProcess.removeSingleMetric(name);
  }
  return ofProcess;
}
