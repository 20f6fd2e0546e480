import { METHODS } from "node:http";
import { Counter, Histogram, type Registry } from "prom-client";
import type { NodeMetrics } from "@cairn/engine";
import { madeOnce } from "@cairn/text";

const KNOWN_METHODS: ReadonlySet<string> = new Set(METHODS);

/** Requests with one method, route and status that were answered but not yet observed. */
interface Uncollected extends Pick<Parameters<NodeMetrics["onRequest"]>[0], "method" | "route" | "status"> {
  count: number;
  /** Durations that the histogram has not yet observed. */
  readonly seconds: Float64Array;
  unobserved: number;
}

/** The number of requests that are observed together, because it takes longer to look up a series than to count. */
const OBSERVED_AT_ONCE = 64;
const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30];

/** Registers the metrics of requests. Returns the function that counts a request. */
export function httpMetrics(registry: Registry): NodeMetrics["onRequest"] {
  const series = new Map<string, Uncollected>();
  const requests = new Counter({
    name: "cairn_http_requests_total",
    help: "Requests served, by route and status.",
    labelNames: ["method", "route", "status"],
    registers: [],
    collect() {
      for (const uncollected of series.values()) {
        const { method, route, status, count } = uncollected;
        this.inc({ method, route, status }, count);
        uncollected.count = 0;
      }
    },
  });
  registry.registerMetric(requests);
  const durations = new Histogram({
    name: "cairn_http_request_duration_seconds",
    help: "Time taken to respond, including waits that the client requested.",
    labelNames: ["method", "route"],
    buckets: SECONDS,
    registers: [registry],
    collect() {
      for (const uncollected of series.values()) observe(this, uncollected);
    },
  });
  // Nearly every request belongs to the same series as the previous one.
  let last: Uncollected | undefined;
  return ({ method: given, route, status, seconds }) => {
    // Clients can send any method, and each one would create a permanent series.
    const method = KNOWN_METHODS.has(given) ? given : "other";
    if (last?.route !== route || last.status !== status || last.method !== method) {
      last = madeOnce(series, `${method} ${status} ${route}`, () => {
        return {
          method,
          route,
          status,
          count: 0,
          seconds: new Float64Array(OBSERVED_AT_ONCE),
          unobserved: 0,
        };
      });
    }
    last.count += 1;
    last.seconds[last.unobserved] = seconds;
    last.unobserved += 1;
    if (last.unobserved === OBSERVED_AT_ONCE) observe(durations, last);
  };
}

function observe(durations: Histogram<"method" | "route">, uncollected: Uncollected): void {
  const { method, route, seconds, unobserved } = uncollected;
  if (unobserved === 0) return;
  const { observe: take } = durations.labels({ method, route });
  for (let at = 0; at < unobserved; at += 1) take(seconds[at] ?? 0);
  uncollected.unobserved = 0;
}
