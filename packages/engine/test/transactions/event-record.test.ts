import { expect, it } from "vitest";
import { eventProblem } from "../../src/transactions/event-record.ts";
import { validTransaction } from "../../src/transactions/validate-transaction.ts";

const EVENT = { object: "pod/web-0", reason: "Scheduled" };
const SHAPE = 'an event is {"object", "reason", "message"?, "bucket"?, "time"?, "type"?, "source"?}';
const TIME = "an event's time is nanoseconds since 1970 in digits";

// Indexes store these sentences, so they must not change.
it.each<[problem: string, event: unknown]>([
  [SHAPE, [EVENT]],
  [SHAPE, "pod"],
  [SHAPE, null],
  [
    'an event has no "mesage"; known are object, reason, message, bucket, time, type, source',
    { ...EVENT, mesage: "x" },
  ],
  ["an event needs reason", { object: "a" }],
  ["an event's object is text", { ...EVENT, object: "" }],
  ["an event's reason is text", { ...EVENT, reason: 3 }],
  ["an event's message is text", { ...EVENT, message: {} }],
  ["an event's type has at most 64 bytes", { ...EVENT, type: "é".repeat(33) }],
  ["an event's source must be valid Unicode", { ...EVENT, source: "\uD800" }],
  ["an event's time is text: nanoseconds since 1970 in digits", { ...EVENT, time: 1_714_300_000 }],
  [`${TIME}, not "2024-04-28"`, { ...EVENT, time: "2024-04-28" }],
  [`${TIME}, not "9999999999999999999"`, { ...EVENT, time: "9999999999999999999" }],
])("says %s", (problem, event) => {
  expect(eventProblem(event)).toBe(problem);
  expect(() => validTransaction({ ops: [["event", event]] })).toThrow(`ops[0]: ${problem}.`);
});

it("accepts an event", () => {
  expect(eventProblem({ ...EVENT, time: "9223372036854775807" })).toBeUndefined();
});
