import { CairnError } from "@cairn/kv";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { FailedRequests } from "../src/answers/failed-requests.ts";

const request = { method: "POST", url: "/api/v1/checkpoints", id: "r1" };
const denied = () =>
  new CairnError("STORE_DENIED", "The store refuses.", { hint: "Grant it.", cause: new Error("beneath") });

let lines: { readonly level: string; readonly fields: Record<string, unknown>; readonly message: string }[];
let failures: FailedRequests;

beforeEach(() => {
  vi.useFakeTimers();
  lines = [];
  const tell = (level: string) => (fields: object, message: string) =>
    void lines.push({ level, fields: { ...fields }, message });
  failures = new FailedRequests({ error: tell("error"), warn: tell("warn"), debug: tell("debug") });
});
afterEach(() => {
  failures.close();
  vi.useRealTimers();
});

const errors = () => lines.filter(({ level }) => level === "error");

it("the server logs the first of many failures with one cause immediately, and their number once a minute, without stacks", () => {
  for (let minute = 0; minute < 3; minute += 1) {
    for (let n = 0; n < 50; n += 1) failures.failed(denied(), request);
    vi.advanceTimersByTime(60_000);
  }
  expect(errors().map(({ message, fields }) => [message, fields["code"], fields["requests"]])).toEqual([
    ["The store refuses.", "STORE_DENIED", undefined],
    ["49 more requests failed within a minute: The store refuses.", "STORE_DENIED", 49],
    ["50 more requests failed within a minute: The store refuses.", "STORE_DENIED", 50],
    ["50 more requests failed within a minute: The store refuses.", "STORE_DENIED", 50],
  ]);
  expect(errors()[0]?.fields).toEqual({
    code: "STORE_DENIED",
    hint: "Grant it.",
    method: "POST",
    url: "/api/v1/checkpoints",
    requestId: "r1",
  });
  expect(errors().some(({ fields }) => "err" in fields)).toBe(false);
  const beneath = lines.filter(({ level }) => level === "debug");
  expect(beneath).toHaveLength(150);
  expect(beneath[0]?.fields).toMatchObject({ err: { cause: { message: "beneath" } }, requestId: "r1" });
});

it("after a minute without failures, the server again logs the next failure immediately", () => {
  failures.failed(denied(), request);
  vi.advanceTimersByTime(60_000);
  expect(errors()).toHaveLength(1);
  failures.failed(denied(), request);
  expect(errors()).toHaveLength(2);
});

it("the server logs each cause separately, and unknown errors with their stack", () => {
  failures.failed(denied(), request);
  failures.failed(new CairnError("STORE_UNREACHABLE", "Away."), request);
  const unheard = new TypeError("x is not a function");
  for (let n = 0; n < 3; n += 1) failures.failed(unheard, request);
  failures.failed(new Error("another"), request);
  expect(errors().map(({ message, fields }) => [message, fields["code"], fields["err"]])).toEqual([
    ["The store refuses.", "STORE_DENIED", undefined],
    ["Away.", "STORE_UNREACHABLE", undefined],
    ["A request failed unexpectedly.", "INTERNAL", unheard],
    ["A request failed unexpectedly.", "INTERNAL", expect.objectContaining({ message: "another" })],
  ]);
  lines = [];
  failures.close();
  // When the server closes, it logs the unreported failures, and nothing after that.
  expect(errors().map(({ fields }) => [fields["error"], fields["requests"]])).toEqual([
    ["TypeError: x is not a function", 2],
  ]);
  vi.advanceTimersByTime(600_000);
  expect(errors()).toHaveLength(1);
});

it("the server does not flood the log with a failure whose message differs each time", () => {
  for (let n = 0; n < 1_000; n += 1) failures.failed(new Error(`row ${n}`), request);
  expect(errors()).toHaveLength(101);
  vi.advanceTimersByTime(60_000);
  expect(errors()).toHaveLength(102);
  expect(errors().at(-1)?.fields).toMatchObject({ code: "INTERNAL", requests: 899 });
});
