import { METHODS } from "node:http";
import { Counter, Histogram, type Registry } from "prom-client";

/** A request that was answered. `route` is the template, never the address: keys and buckets are without number. */
export interface AnsweredRequest {
  readonly method: string;
  readonly route: string;
  readonly status: number;
  readonly seconds: number;
}

const KNOWN_METHODS: ReadonlySet<string> = new Set(METHODS);

/** Requests of one method, route and status that were answered since somebody asked for the metrics. */
interface Uncollected extends Pick<AnsweredRequest, "method" | "route" | "status"> {
  count: number;
  /** How long the last ones took, which the histogram does not know yet. */
  readonly seconds: Float64Array;
  unobserved: number;
}

/** Looking up a series takes longer than counting in it: that is done for so many requests at once. */
const OBSERVED_AT_ONCE = 64;
const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30];

/** Counts requests. */
export function httpMetrics(registry: Registry): (request: AnsweredRequest) => void {
  const series = new Map<string, Uncollected>();
  const requests = new Counter({
    name: "cairn_http_requests_total",
    help: "Requests answered, by route and status.",
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
    help: "How long answering took, waits that the client asked for included.",
    labelNames: ["method", "route"],
    buckets: SECONDS,
    registers: [registry],
    collect() {
      for (const uncollected of series.values()) observe(this, uncollected);
    },
  });
  // Nearly every request is like the one before.
  let last: Uncollected | undefined;
  return ({ method: given, route, status, seconds }) => {
    // Anybody can send a method of his own making, and each would be a series for ever.
    const method = KNOWN_METHODS.has(given) ? given : "other";
    if (last?.route !== route || last.status !== status || last.method !== method) {
      last = seriesOf(series, method, route, status);
    }
    last.count += 1;
    last.seconds[last.unobserved] = seconds;
    last.unobserved += 1;
    if (last.unobserved === OBSERVED_AT_ONCE) observe(durations, last);
  };
}

function seriesOf(
  series: Map<string, Uncollected>,
  method: string,
  route: string,
  status: number,
): Uncollected {
  const name = `${method} ${status} ${route}`;
  let found = series.get(name);
  if (found === undefined) {
    found = { method, route, status, count: 0, seconds: new Float64Array(OBSERVED_AT_ONCE), unobserved: 0 };
    series.set(name, found);
  }
  return found;
}

function observe(durations: Histogram<"method" | "route">, uncollected: Uncollected): void {
  const { method, route, seconds, unobserved } = uncollected;
  if (unobserved === 0) return;
  const { observe: take } = durations.labels({ method, route });
  for (let at = 0; at < unobserved; at += 1) take(seconds[at] ?? 0);
  uncollected.unobserved = 0;
}
