import { collectDefaultMetrics, type Counter, Registry } from "prom-client";
import type { CutoffReason, NodeMetrics } from "@cairn/engine";
import { SharedResults, TIMED_OUT, withTimeout } from "@cairn/kv";
import { Instruments, followingMetrics, workMetrics } from "./work-metrics.ts";
import { httpMetrics } from "./http-metrics.ts";
import { type MeasuredSystem, type Scraped, scrapedGauges } from "./scraped-gauges.ts";

/** Less than the 10 s for which Prometheus waits by default. The log alone may take 2 s. */
const SOURCE_TIMEOUT_MS = 4_000;

/** The metrics of one node, in a separate registry, because a process may have several nodes. */
export class PrometheusMetrics implements NodeMetrics {
  readonly registry = new Registry();
  readonly following: NodeMetrics["following"];
  readonly watches: NodeMetrics["watches"];
  readonly onEvent: NodeMetrics["onEvent"];
  readonly onRequest: NodeMetrics["onRequest"];
  readonly onBarrier: NodeMetrics["onBarrier"];
  readonly #setGauges: (scraped: Scraped) => void;
  readonly #failures: Counter<"source">;
  readonly #onError: (source: string, error: unknown) => void;
  readonly #scrapes = new SharedResults<string>();

  /** `onError` receives the error of a source that failed; the scrape continues without that source. */
  constructor(system: MeasuredSystem, onError: (source: string, error: unknown) => void) {
    const make = new Instruments(this.registry);
    this.#onError = onError;
    this.following = followingMetrics(make);
    this.watches = watchMetrics(make);
    this.onEvent = workMetrics(make);
    this.onRequest = httpMetrics(this.registry);
    this.#setGauges = scrapedGauges(make, system);
    this.#setGauges({ phase: "restoring", status: undefined, queues: undefined });
    this.#failures = make.counter(
      "cairn_scrape_failures_total",
      "Scrapes that continued without a source, because it failed or did not respond within 4 s.",
      "source",
    );
    for (const source of ["status", "queues"]) this.#failures.inc({ source }, 0);
    const barriers = make.counter(
      "cairn_read_barriers_total",
      "Messages that this node appended to the log for linearizable reads.",
    );
    this.onBarrier = () => barriers.inc();
  }

  /** Returns Prometheus text, shared by concurrent scrapes. Omits sources that do not respond within `limitMs`. */
  async text(sources: Parameters<NodeMetrics["text"]>[0], limitMs = SOURCE_TIMEOUT_MS): Promise<string> {
    return await this.#scrapes.get("", async () => {
      const [status, queues] = await Promise.all([
        this.#ask("status", sources.status(), limitMs),
        this.#ask("queues", sources.queues(), limitMs),
      ]);
      this.#setGauges({ phase: sources.phase, status, queues });
      return `${await this.registry.metrics()}\n${await processMetrics().metrics()}`;
    });
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

const CUTOFF_REASONS: readonly CutoffReason[] = ["slow", "stopping", "not-ready", "compacted", "regressed"];

/** Registers the metrics of watches, and returns their counters. */
function watchMetrics(make: Instruments): NodeMetrics["watches"] {
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

let ofProcess: Registry | undefined;

/** Gauges with names that only counters may have. Each is the sum of another gauge, which reports values by type. */
const MISNAMED = [
  "nodejs_active_resources_total",
  "nodejs_active_handles_total",
  "nodejs_active_requests_total",
];

/**
 * Returns the metrics of the process and of Node, shared by all its nodes. Collection begins with the first call,
 * because observing the garbage collector and the event loop costs time.
 */
export function processMetrics(): Registry {
  if (ofProcess === undefined) {
    ofProcess = new Registry();
    collectDefaultMetrics({ register: ofProcess });
    for (const name of MISNAMED) ofProcess.removeSingleMetric(name);
  }
  return ofProcess;
}
