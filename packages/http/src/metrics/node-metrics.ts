import { collectDefaultMetrics, Counter, Registry } from "prom-client";
import type { CutoffReason, NodeMetrics } from "@cairn/engine";
import { SharedResults, TIMED_OUT, withTimeout } from "@cairn/kv";
import { Instruments, followingMetrics, workMetrics } from "./work-metrics.ts";
import { httpMetrics } from "./http-metrics.ts";
import { type MeasuredSystem, scrapedGauges } from "./scraped-gauges.ts";

/** Less than the 10 s for which Prometheus waits by default. The log alone may take 2 s. */
const SOURCE_TIMEOUT_MS = 4_000;

/**
 * Registers the metrics of one node in a registry of its own, because a process may have several nodes. `onError` receives
 * the error of a source that failed, or did not respond within `limitMs`; the scrape continues without that source.
 */
export function registerMetrics(
  system: MeasuredSystem,
  onError: (source: string, error: unknown) => void,
  limitMs = SOURCE_TIMEOUT_MS,
): NodeMetrics & { readonly registry: Registry } {
  const registry = new Registry();
  // What is observed in the process is counted from its first node on, and not only from the first scrape.
  const ofProcess = processMetrics();
  const make = new Instruments(registry);
  const setGauges = scrapedGauges(make, system);
  setGauges({ phase: "restoring", status: undefined, queues: undefined });
  const failures = make.counter(
    "cairn_scrape_failures_total",
    "Scrapes that continued without a source, because it failed or did not respond within 4 s.",
    "source",
  );
  for (const source of ["status", "queues"]) failures.inc({ source }, 0);
  const barriers = make.counter(
    "cairn_read_barriers_total",
    "Messages that this node appended to the log for linearizable reads.",
  );
  const certificate = make.gauge(
    "cairn_tls_certificate_end_timestamp_seconds",
    "When the certificate of the HTTP server ends; absent without TLS.",
  );
  // The gauge is created with 0, which would be a certificate that has ended.
  certificate.remove();
  const scrapes = new SharedResults<string>();

  async function ask<T>(source: string, answer: Promise<T>): Promise<T | undefined> {
    try {
      const first = await withTimeout(answer, limitMs);
      if (first !== TIMED_OUT) return first;
      throw new Error(`it did not respond within ${limitMs} ms`);
    } catch (error) {
      // A failed source must not hide the other metrics, which are needed most when a node has a problem.
      failures.inc({ source });
      onError(source, error);
      return undefined;
    }
  }

  return {
    registry,
    following: followingMetrics(make),
    watches: watchMetrics(make),
    onEvent: workMetrics(make),
    onRequest: httpMetrics(registry),
    onBarrier: () => barriers.inc(),
    onAttachmentEnded: attachedMetrics(make),
    onCertificate: ({ validTo }) => certificate.set(Date.parse(validTo) / 1_000),
    // Concurrent scrapes share the text.
    text: async (sources) =>
      await scrapes.get("", async () => {
        const [status, queues] = await Promise.all([
          ask("status", sources.status()),
          ask("queues", sources.queues()),
        ]);
        setGauges({ phase: sources.phase, status, queues });
        return `${await registry.metrics()}\n${await ofProcess.metrics()}`;
      }),
  };
}

const CUTOFF_REASONS: readonly CutoffReason[] = ["slow", "stopping", "not-ready", "compacted", "regressed"];

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

function attachedMetrics(make: Instruments): NodeMetrics["onAttachmentEnded"] {
  const requests = make.counter(
    "cairn_attached_requests_total",
    "Requests to the store of reads from checkpoints that were being restored, counted when each ends.",
  );
  const bytes = make.counter(
    "cairn_attached_bytes_total",
    "Bytes that reads from checkpoints that were being restored fetched from the store, counted when each ends.",
  );
  return (counts) => {
    requests.inc(counts.requests);
    bytes.inc(counts.bytes);
  };
}

let shared: Registry | undefined;

/** Gauges with names that only counters may have. Each is the sum of another gauge, which reports values by type. */
const MISNAMED = [
  "nodejs_active_resources_total",
  "nodejs_active_handles_total",
  "nodejs_active_requests_total",
];

/** Returns the metrics of the process and of Node, shared by all its nodes. Collection begins with the first call. */
export function processMetrics(): Registry {
  if (shared !== undefined) return shared;
  shared = new Registry();
  const { user, system } = process.cpuUsage();
  collectDefaultMetrics({ register: shared });
  for (const name of MISNAMED) shared.removeSingleMetric(name);
  // prom-client counts from now on; the process has counted from its start.
  for (const [of, micros] of [
    ["user_", user],
    ["system_", system],
    ["", user + system],
  ] as const) {
    const counter = shared.getSingleMetric(`process_cpu_${of}seconds_total`);
    if (counter instanceof Counter) counter.inc(micros / 1e6);
  }
  return shared;
}
