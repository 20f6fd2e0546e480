import { describe, expect, it } from "vitest";
import { AppendSequence } from "../../src/log/append-sequence.ts";

describe("a sequence of messages", () => {
  it("lets no message pass an earlier one, in whatever order places are left", async () => {
    const sequence = new AppendSequence();
    const places = [1, 2, 3, 4, 5].map(() => sequence.take());
    const passed: number[] = [];
    const passing = places.map(async (place, at) => {
      await place.reached();
      passed.push(at);
    });
    for (const [at, expected] of [
      [3, [0]],
      [1, [0]],
      [0, [0, 1, 2]],
      [2, [0, 1, 2, 3, 4]],
    ] as const) {
      places[at]?.leave();
      await new Promise(setImmediate);
      expect(passed).toEqual(expected);
    }
    await Promise.all(passing);
  });

  it("names to each message the failure of the earliest one before it", () => {
    const sequence = new AppendSequence();
    const [first, second, third] = [sequence.take(), sequence.take(), sequence.take()];
    third.fail("third");
    second.fail("second");
    expect([first, second, third].map((place) => place.failure()?.error)).toEqual([
      undefined,
      undefined,
      "second",
    ]);
  });
});
