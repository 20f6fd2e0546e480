import fc from "fast-check";
import { expect, test } from "vitest";
import { newestFirst, parseCheckpointName } from "../../src/index.ts";
import { formatCheckpointName, parseCheckpointFile } from "../../src/store/checkpoint.ts";

const TIME = Date.parse("2026-11-20T06:12:26.123Z");

test("a name contains the transaction and the time, without colons", () => {
  const name = formatCheckpointName({ txId: 1000, takenAt: TIME, suffix: "1f3a9c0e" });
  expect(name).toBe("checkpoint-1000-2026-11-20T06-12-26.123Z-1f3a9c0e");
});

test("every formatted name can be parsed into its parts", () => {
  fc.assert(
    fc.property(
      fc.maxSafeNat(),
      fc.integer({ min: 0, max: Date.parse("9999-12-31T23:59:59.999Z") }),
      fc.integer({ min: 0, max: 0xff_ff_ff_ff }),
      (txId, takenAt, number) => {
        const name = { txId, takenAt, suffix: number.toString(16).padStart(8, "0") };
        expect(parseCheckpointName(formatCheckpointName(name))).toEqual(name);
      },
    ),
  );
});

test.each([
  "checkpoint-1000",
  "checkpoint-01-2026-11-20T06-12-26.123Z-1f3a9c0e",
  "checkpoint-1-2026-02-31T06-12-26.123Z-1f3a9c0e",
  "checkpoint-1-2026-11-20T25-12-26.123Z-1f3a9c0e",
  "checkpoint-1-2026-11-20T06:12:26.123Z-1f3a9c0e",
  "checkpoint-1-2026-11-20T06-12-26.123Z-1F3A9C0E",
  "checkpoint-1-2026-11-20T06-12-26.123Z-1f3a9c0",
  "checkpoint-1-2026-11-20T06-12-26.123Z",
  "checkpoint--1-2026-11-20T06-12-26.123Z-1f3a9c0e",
  "checkpoint-9999999999999999-2026-11-20T06-12-26.123Z-1f3a9c0e",
  "checkpoint-1-2026-11-20T06-12-26.123Z-1f3a9c0e\n",
  " checkpoint-1-2026-11-20T06-12-26.123Z-1f3a9c0e",
  "checkpoint-5-2022-05-03T10:12:26.123-00:00.edn",
  "",
])("the foreign name %j is not a checkpoint's name", (name) => {
  expect(parseCheckpointName(name)).toBeUndefined();
});

test("the files of a checkpoint can be distinguished from each other and from foreign files", () => {
  const checkpoint = "checkpoint-1-2026-11-20T06-12-26.123Z-1f3a9c0e";
  expect(parseCheckpointFile(`${checkpoint}.tar`)).toEqual({ checkpoint, part: "archive" });
  expect(parseCheckpointFile(`${checkpoint}.json`)).toEqual({ checkpoint, part: "manifest" });
  expect(parseCheckpointFile(`${checkpoint}.verified.json`)).toEqual({ checkpoint, part: "verified" });
  expect(parseCheckpointFile(`${checkpoint}.damaged.json`)).toEqual({ checkpoint, part: "damaged" });
  expect(parseCheckpointFile(`${checkpoint}.tar.part`)).toBeUndefined();
  expect(parseCheckpointFile("checkpoint-1.json")).toBeUndefined();
});

test("names are ordered by transaction as a number, then by time, newest first", () => {
  const names = [
    { txId: 9, takenAt: TIME + 5000, suffix: "00000000" },
    { txId: 10, takenAt: TIME, suffix: "00000000" },
    { txId: 10, takenAt: TIME + 1, suffix: "00000000" },
    { txId: 10, takenAt: TIME, suffix: "00000001" },
  ];
  const sorted = names.toSorted(newestFirst);
  expect(sorted.map((name) => names.indexOf(name))).toEqual([2, 3, 1, 0]);
});
