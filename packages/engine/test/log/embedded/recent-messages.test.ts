import { describe, expect, it } from "vitest";
import fc from "fast-check";
import { RecentMessages } from "../../../src/log/embedded/recent-messages.ts";
import type { LogMessage } from "../../../src/log/tx-log.ts";

function messages(first: number, count: number, bytes = 1): LogMessage[] {
  return Array.from({ length: count }, (_, index) => ({
    position: first + index,
    time: 0,
    payload: new Uint8Array(bytes),
  }));
}

const positions = (found: readonly LogMessage[] | undefined): number[] | undefined =>
  found?.map(({ position }) => position);

describe("the newest messages of a log", () => {
  it("are returned from any remembered position, within the bounds of a reading but at least one", () => {
    const recent = new RecentMessages();
    recent.add(messages(5, 4, 10));
    recent.add(messages(9, 2, 10));
    expect(positions(recent.from(5, {}))).toEqual([5, 6, 7, 8, 9, 10]);
    expect(positions(recent.from(8, { maxMessages: 2 }))).toEqual([8, 9]);
    expect(positions(recent.from(6, { maxBytes: 25 }))).toEqual([6, 7]);
    expect(positions(recent.from(6, { maxBytes: 1 }))).toEqual([6]);
    expect(recent.from(4, {})).toBeUndefined();
    expect(recent.from(11, {})).toBeUndefined();
  });

  it("never have a hole: after one, only the newer messages are remembered", () => {
    const recent = new RecentMessages();
    recent.add(messages(1, 3));
    recent.add(messages(5, 1));
    expect(recent.from(3, {})).toBeUndefined();
    expect(positions(recent.from(5, {}))).toEqual([5]);
  });

  it("are bounded in number and in bytes, whatever is added", { tags: "rest/slow" }, () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({ count: fc.integer({ min: 1, max: 1_500 }), bytes: fc.integer({ min: 0, max: 8_192 }) }),
        ),
        (groups) => {
          const recent = new RecentMessages();
          let last = 0;
          for (const { count, bytes } of groups) {
            recent.add(messages(last + 1, count, bytes));
            last += count;
          }
          let first = last + 1;
          while (first > 1 && recent.from(first - 1, {}) !== undefined) first -= 1;
          expect(last - first + 1).toBeLessThanOrEqual(4_096);
          const newest = recent.from(first, { maxBytes: Infinity }) ?? [];
          const total = newest.reduce((sum, { payload }) => sum + payload.length, 0);
          expect(total).toBeLessThanOrEqual(4 * 1024 * 1024);
        },
      ),
      { numRuns: 50 },
    );
  });
});
