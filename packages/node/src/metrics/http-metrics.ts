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

interface CountedRequests extends Pick<AnsweredRequest, "method" | "route" | "status"> {
  /** Answered since somebody asked. */
  uncollected: number;
}

const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30];

/** Counts requests. */
export function httpMetrics(registry: Registry): (request: AnsweredRequest) => void {
  // Finding a series by its labels takes longer than counting: that is done once for each, when somebody asks.
  const counts = new Map<string, CountedRequests>();
  const requests = new Counter({
    name: "cairn_http_requests_total",
    help: "Requests answered, by route and status.",
    labelNames: ["method", "route", "status"],
    registers: [],
    collect() {
      for (const counted of counts.values()) {
        const { uncollected, ...labels } = counted;
        this.inc(labels, uncollected);
        counted.uncollected = 0;
      }
    },
  });
  registry.registerMetric(requests);
  const seconds = new Histogram({
    name: "cairn_http_request_duration_seconds",
    help: "How long answering took, waits that the client asked for included.",
    labelNames: ["method", "route"],
    buckets: SECONDS,
    registers: [registry],
  });
  return ({ method: given, route, status, seconds: took }) => {
    // Anybody can send a method of his own making, and each would be a series for ever.
    const method = KNOWN_METHODS.has(given) ? given : "other";
    const key = `${method} ${status} ${route}`;
    const counted = counts.get(key);
    if (counted === undefined) counts.set(key, { method, route, status, uncollected: 1 });
    else counted.uncollected += 1;
    seconds.observe({ method, route }, took);
  };
}
