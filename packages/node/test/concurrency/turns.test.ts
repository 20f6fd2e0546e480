import { setImmediate } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { Turns } from "../../src/concurrency/turns.ts";

/** Takes turns until `count` have come, each in its place in `order`. */
function takers(turns: Turns, count: number) {
  const order: number[] = [];
  const given: (() => void)[] = [];
  for (let n = 0; n < count; n += 1) {
    void (async () => {
      const done = await turns.take();
      order.push(n);
      given.push(done);
    })();
  }
  return { order, given };
}

describe("turns", () => {
  it("are taken one at a time, in the order in which they were asked for", async () => {
    const { order, given } = takers(new Turns(), 4);
    for (let n = 1; n <= 4; n += 1) {
      await setImmediate();
      expect(order).toEqual(Array.from({ length: n }, (_, index) => index));
      given[n - 1]?.();
    }
  });

  it("are taken by so many at a time, and by the next as soon as any is done", async () => {
    const { order, given } = takers(new Turns(2), 5);
    await setImmediate();
    expect(order).toEqual([0, 1]);
    given[1]?.();
    await setImmediate();
    expect(order).toEqual([0, 1, 2]);
    given[0]?.();
    given[2]?.();
    await setImmediate();
    expect(order).toEqual([0, 1, 2, 3, 4]);
  });

  it("wait for nobody again once all are done", async () => {
    const turns = new Turns(2);
    const first = await turns.take();
    const second = await turns.take();
    first();
    second();
    (await turns.take())();
    const { order } = takers(turns, 2);
    await setImmediate();
    expect(order).toEqual([0, 1]);
  });
});
