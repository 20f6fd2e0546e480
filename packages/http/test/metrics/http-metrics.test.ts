import { Counter, Histogram, Registry } from "prom-client";
import fc from "fast-check";
import { expect, it } from "vitest";
import { httpMetrics } from "../../src/metrics/http-metrics.ts";
import type { AnsweredRequest } from "@cairn/engine/src/observe/resource-use";
import { parseSamples, type Sample } from "@cairn/test-support/nodes/samples";

const answered: fc.Arbitrary<AnsweredRequest> = fc.record({
  method: fc.constantFrom("GET", "PUT", "BREW"),
  route: fc.constantFrom("/api/v1/*", "none"),
  status: fc.constantFrom(200, 404),
  // Sums of these numbers are exact.
  seconds: fc.integer({ min: 0, max: 1 << 16 }).map((parts) => parts / 1_024),
});

async function samples(registry: Registry): Promise<Sample[]> {
  const found = parseSamples(await registry.metrics());
  return found.toSorted((a, b) => JSON.stringify(a).localeCompare(JSON.stringify(b)));
}

/** Returns a function with which the library counts every request when its response is sent. */
function plainMetrics(registry: Registry): (request: AnsweredRequest) => void {
  const labels = { help: "-", registers: [registry] };
  const requests = new Counter({
    ...labels,
    name: "cairn_http_requests_total",
    labelNames: ["method", "route", "status"],
  });
  const seconds = new Histogram({
    ...labels,
    name: "cairn_http_request_duration_seconds",
    labelNames: ["method", "route"],
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30],
  });
  return ({ method: given, route, status, seconds: took }) => {
    const method = given === "BREW" ? "other" : given;
    requests.inc({ method, route, status });
    seconds.observe({ method, route }, took);
  };
}

it("a node counts every request, whenever it is scraped", { tags: "rest/slow" }, async () => {
  // Runs of equal requests may be longer than the number of durations that are observed at once.
  const runs = fc.array(fc.tuple(answered, fc.integer({ min: 1, max: 200 }), fc.boolean()), { maxLength: 8 });
  await fc.assert(
    fc.asyncProperty(runs, async (all) => {
      const [registry, plain] = [new Registry(), new Registry()];
      const [count, countPlainly] = [httpMetrics(registry), plainMetrics(plain)];
      for (const [request, times, isAsked] of all) {
        for (let at = 0; at < times; at += 1) for (const one of [count, countPlainly]) one(request);
        if (isAsked) expect(await samples(registry)).toEqual(await samples(plain));
      }
      expect(await samples(registry)).toEqual(await samples(plain));
    }),
  );
});
