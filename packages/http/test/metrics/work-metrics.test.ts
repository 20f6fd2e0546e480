import { CairnError, type ErrorCode } from "@cairn/kv";
import { Registry } from "prom-client";
import { expect, it } from "vitest";
import { EventDispatcher } from "@cairn/engine/src/observe/event-dispatcher";
import { Instruments, workMetrics } from "../../src/metrics/work-metrics.ts";
import { valueOf } from "@cairn/test-support/nodes/samples";

function measured() {
  const registry = new Registry();
  const events = new EventDispatcher((error) => {
    throw error;
  });
  events.listen(workMetrics(new Instruments(registry)));
  const value = async (name: string, labels?: Record<string, string>): Promise<number | undefined> =>
    valueOf(await registry.metrics(), name, labels);
  const fail = (work: "checkpoint" | "restore" | "verification", code: ErrorCode): void =>
    events.begin(work).failed(new CairnError(code, "A test said so."));
  return { events, value, fail };
}

it("a gauge shows each task while it runs", async () => {
  const { events, value } = measured();
  const run = events.begin("verification");
  expect(await value("cairn_work_running", { work: "verification" })).toBe(1);
  expect(await value("cairn_work_running", { work: "checkpoint" })).toBe(0);
  run.failed(new Error("broken"));
  expect(await value("cairn_work_running", { work: "verification" })).toBe(0);
});

it("a task aborted by a stop is not counted as a failure", async () => {
  const { value, fail } = measured();
  fail("verification", "NOT_READY");
  expect(await value("cairn_work_last_failure_timestamp_seconds", { work: "verification" })).toBe(0);
  expect(await value("cairn_work_failures_total", { code: "NOT_READY" })).toBe(1);
  fail("verification", "CHECKPOINT_CORRUPT");
  expect(await value("cairn_work_last_failure_timestamp_seconds", { work: "verification" })).toBeGreaterThan(
    Date.now() / 1_000 - 60,
  );
});

it("the metrics distinguish an upload that lost its lease from rounds that found another node's lease", async () => {
  const { events, value, fail } = measured();
  fail("checkpoint", "CONFLICT");
  events.begin("checkpoint").ended({ outcome: "leased", because: "Another node is uploading." });
  events.begin("checkpoint").ended({ outcome: "leased", because: "Another node is uploading." });
  expect(await value("cairn_checkpoint_lease_contention_total", { outcome: "lost" })).toBe(1);
  expect(await value("cairn_checkpoint_lease_contention_total", { outcome: "held" })).toBe(2);
});

it("the metrics contain nothing about the store before its first use, and nothing about restores from other stores", async () => {
  const { events, value, fail } = measured();
  expect(await value("cairn_store_reachable")).toBeUndefined();
  events.begin("restore").ended({ outcome: "none", skipped: [] });
  expect(await value("cairn_store_reachable")).toBeUndefined();
  fail("restore", "STORE_UNREACHABLE");
  expect(await value("cairn_store_reachable")).toBe(0);
  fail("checkpoint", "INDEX_CORRUPT");
  expect(await value("cairn_store_reachable")).toBe(0);
  events.begin("checkpoint").ended({ outcome: "unchanged", because: "Nothing changed." });
  expect(await value("cairn_store_reachable")).toBe(1);
  fail("checkpoint", "STORE_FULL");
  expect(await value("cairn_store_reachable")).toBe(0);
});

it("the metrics count removals by reason, and failed removals", async () => {
  const { events, value } = measured();
  const because = "A test said so.";
  const sweep = events.begin("sweep");
  sweep.moved(30);
  sweep.ended({
    outcome: "swept",
    removed: [
      { name: "a", reason: "retention", because, bytes: 10 },
      { name: "b", reason: "leftover", because, bytes: 20 },
      { name: "c", reason: "leftover", because, bytes: 0 },
    ],
    failed: [{ name: "d", code: "STORE_DENIED", message: because }],
  });
  expect(await value("cairn_sweep_removed_total", { reason: "leftover" })).toBe(2);
  expect(await value("cairn_sweep_removed_total", { reason: "expired" })).toBe(0);
  expect(await value("cairn_sweep_failed_removals_total")).toBe(1);
  expect(await value("cairn_work_bytes_total", { work: "sweep" })).toBe(30);
});
