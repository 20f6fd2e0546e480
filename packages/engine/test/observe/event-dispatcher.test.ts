import { addAbortSignal, Readable } from "node:stream";
import { setImmediate } from "node:timers/promises";
import { CairnError } from "@cairn/kv";
import { expect, it, vi } from "vitest";
import type { NodeEvent, NodeEventListener } from "../../src/observe/node-event.ts";
import { EventDispatcher } from "../../src/observe/event-dispatcher.ts";

const UNCHANGED = { outcome: "unchanged", because: "Nothing changed." } as const;

function listened(...first: NodeEventListener[]) {
  const errors: unknown[] = [];
  const told: NodeEvent[] = [];
  const events = new EventDispatcher((error) => errors.push(error));
  for (const listener of first) events.listen(listener);
  events.listen((event) => told.push(event));
  return { events, told, errors };
}

it("a dispatcher reports the beginning and the end of a run, with the bytes transferred so far", () => {
  const { events, told } = listened();
  const run = events.begin("checkpoint");
  run.moved(10);
  run.moved(4_096);
  run.ended(UNCHANGED);
  expect(told).toMatchObject([
    { work: "checkpoint", stage: "begun", run: 1 },
    { work: "checkpoint", stage: "ended", run: 1, bytes: 4_096, ...UNCHANGED },
  ]);
});

it("a dispatcher reports only the first of two ends", () => {
  const { events, told } = listened();
  const run = events.begin("checkpoint");
  run.ended(UNCHANGED);
  run.failed(new Error("late"));
  run.ended(UNCHANGED);
  expect(told.map(({ stage }) => stage)).toEqual(["begun", "ended"]);
});

it("a dispatcher gives concurrent tasks different runs", () => {
  const { events, told } = listened();
  const [one, other] = [events.begin("checkpoint"), events.begin("verification")];
  other.failed(new CairnError("STORE_UNREACHABLE", "Away."));
  one.ended(UNCHANGED);
  expect(told.map(({ run, stage }) => [run, stage])).toEqual([
    [1, "begun"],
    [2, "begun"],
    [2, "failed"],
    [1, "ended"],
  ]);
});

it("a dispatcher reports a task that throws as failed, throws the same error, and remembers that the error was reported", async () => {
  const { events, told } = listened();
  const error = new CairnError("STORE_FULL", "Full.");
  await expect(events.observe("trim", () => Promise.reject(error))).rejects.toBe(error);
  expect(told[1]).toMatchObject({ stage: "failed", error: { code: "STORE_FULL" } });
  expect([events.hasReported(error), events.hasReported(new Error("another"))]).toEqual([true, false]);
});

it("a dispatcher reports a task that ends without a result as failed", async () => {
  const { events, told } = listened();
  expect(await events.observe("trim", () => Promise.resolve(7))).toBe(7);
  expect(told[1]).toMatchObject({ stage: "failed", error: { code: "INTERNAL" } });
});

it("a dispatcher reports an abort as NOT_READY, and an unexpected error as INTERNAL with its cause", async () => {
  const { events, told } = listened();
  events.begin("restore").failed(AbortSignal.abort().reason);
  const stream = addAbortSignal(AbortSignal.abort(), new Readable({ read: () => undefined }));
  events.begin("trim").failed(await stream.toArray().catch((error: unknown) => error));
  const unexpected = new RangeError("Array buffer allocation failed");
  events.begin("checkpoint").failed(unexpected);
  events.begin("checkpoint").failed("not even an error");
  const failed = told.filter((event) => event.stage === "failed");
  expect(failed.map(({ error }) => error.code)).toEqual(["NOT_READY", "NOT_READY", "INTERNAL", "INTERNAL"]);
  expect(failed[2]?.error.cause).toBe(unexpected);
});

it("a dispatcher continues when a listener throws or rejects, without effects on other listeners or the task", async () => {
  const thrown = new Error("observer");
  const rejected = new Error("async observer");
  const { events, told, errors } = listened(
    () => {
      throw thrown;
    },
    () => Promise.reject(rejected),
  );
  const unhandled = vi.fn<() => void>();
  process.on("unhandledRejection", unhandled);
  try {
    events.begin("checkpoint").ended(UNCHANGED);
    await setImmediate();
  } finally {
    process.off("unhandledRejection", unhandled);
  }
  expect(told).toHaveLength(2);
  expect(errors).toEqual([thrown, thrown, rejected, rejected]);
  expect(unhandled).not.toHaveBeenCalled();
});
