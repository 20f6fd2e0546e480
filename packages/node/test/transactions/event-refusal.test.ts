import fc from "fast-check";
import { expect, it } from "vitest";
import { EVENT_FIELDS, eventProblem } from "../../src/transactions/event-record.ts";
import { eventRefusal } from "../../src/transactions/event-refusal.ts";
import { validTransaction } from "../../src/transactions/validate-transaction.ts";

const EVENT = { object: "pod/web-0", reason: "Scheduled" };

it.each<[refusal: string, event: unknown]>([
  [
    'an event is {"object", "reason", "message"?, "bucket"?, "time"?, "type"?, "source"?}, not a list',
    [EVENT],
  ],
  [
    'an event is {"object", "reason", "message"?, "bucket"?, "time"?, "type"?, "source"?}, not the string "pod"',
    "pod",
  ],
  ['an event is {"object", "reason", "message"?, "bucket"?, "time"?, "type"?, "source"?}, not null', null],
  [
    'an event has no field "mesage" (did you mean message?); its fields are object, reason, message, bucket, time, type, source',
    { ...EVENT, mesage: "x" },
  ],
  [
    'an event has no field "node"; its fields are object, reason, message, bucket, time, type, source',
    { ...EVENT, node: "x" },
  ],
  [
    'an event\'s "reason" must be a string of 1 to 256 bytes (a word, such as "Scheduled"), but it is missing',
    { object: "a" },
  ],
  [
    'an event\'s "object" must be a string of 1 to 1536 bytes (what it happened to, such as "pod/web-0"), but it is empty',
    { ...EVENT, object: "" },
  ],
  [
    'an event\'s "reason" must be a string of 1 to 256 bytes (a word, such as "Scheduled"), not the number 3',
    { ...EVENT, reason: 3 },
  ],
  ['an event\'s "message" must be a string of at most 16384 bytes, not a map', { ...EVENT, message: {} }],
  [
    'an event\'s "type" must be a string of at most 64 bytes, but it has 66',
    { ...EVENT, type: "é".repeat(33) },
  ],
  [
    'an event\'s "source" must be a string of at most 256 bytes, but it is not valid Unicode',
    { ...EVENT, source: "\uD800" },
  ],
  [
    'an event\'s "time" must be a string of at most 19 bytes (nanoseconds since 1970 in decimal digits, such as "1714300000000000001"), not the number 1714300000',
    { ...EVENT, time: 1_714_300_000 },
  ],
  [
    'an event\'s "time" must be nanoseconds since 1970 in decimal digits, such as "1714300000000000001", at most 9223372036854775807, not "2024-04-28"',
    { ...EVENT, time: "2024-04-28" },
  ],
])("says %s", (refusal, event) => {
  expect(eventRefusal(event)).toBe(refusal);
  expect(() => validTransaction({ ops: [["event", event]] })).toThrow(`ops[0]: ${refusal}.`);
});

it(
  "an event is refused if and only if the log's own check refuses it; the wording of that check is stored and must not change",
  { tags: "rest/slow" },
  () => {
    const text = fc.oneof(
      fc.string({ unit: "binary" }),
      fc.constant("x".repeat(300)),
      fc.constant("12"),
      fc.constant("-1"),
    );
    const value = fc.oneof({ weight: 5, arbitrary: text }, fc.jsonValue());
    const name = fc.oneof({ weight: 9, arbitrary: fc.constantFrom(...EVENT_FIELDS.keys()) }, fc.string());
    const event = fc.dictionary(name, value).map((rest) => ({ ...EVENT, ...rest }));
    fc.assert(
      fc.property(fc.oneof({ weight: 5, arbitrary: event }, fc.jsonValue()), (one) => {
        expect(eventRefusal(one) === undefined).toBe(eventProblem(one) === undefined);
      }),
      { numRuns: 1_000 },
    );
    expect(eventProblem({ object: "a" })).toBe("an event needs reason");
    expect(eventProblem({ ...EVENT, time: 3 })).toBe(
      "an event's time is text: nanoseconds since 1970 in digits",
    );
    expect(eventProblem({ ...EVENT, type: "x".repeat(65) })).toBe("an event's type has at most 64 bytes");
  },
);
