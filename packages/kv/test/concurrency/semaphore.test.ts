import { setImmediate } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { Semaphore } from "../../src/concurrency/semaphore.ts";

/** Makes `count` callers acquire the semaphore. `order` lists the callers that have been admitted so far. */
function acquirers(semaphore: Semaphore, count: number) {
  const order: number[] = [];
  const releases: (() => void)[] = [];
  for (let n = 0; n < count; n += 1) {
    void (async () => {
      const release = await semaphore.acquire();
      order.push(n);
      releases.push(release);
    })();
  }
  return { order, releases };
}

describe("a semaphore", () => {
  it("admits one holder at a time, in the order of the requests", async () => {
    const semaphore = new Semaphore();
    const { order, releases } = acquirers(semaphore, 4);
    for (let n = 1; n <= 4; n += 1) {
      await setImmediate();
      expect(order).toEqual(Array.from({ length: n }, (_, index) => index));
      expect(semaphore.isContended).toBe(n < 4);
      releases[n - 1]?.();
    }
  });

  it("admits as many holders as its limit allows, and the next waiter as soon as any holder releases it", async () => {
    const { order, releases } = acquirers(new Semaphore(2), 5);
    await setImmediate();
    expect(order).toEqual([0, 1]);
    releases[1]?.();
    await setImmediate();
    expect(order).toEqual([0, 1, 2]);
    releases[0]?.();
    releases[2]?.();
    await setImmediate();
    expect(order).toEqual([0, 1, 2, 3, 4]);
  });

  it("admits holders immediately again once all earlier ones have released the semaphore", async () => {
    const semaphore = new Semaphore(2);
    const first = await semaphore.acquire();
    const second = await semaphore.acquire();
    first();
    second();
    (await semaphore.acquire())();
    const { order } = acquirers(semaphore, 2);
    await setImmediate();
    expect(order).toEqual([0, 1]);
  });
});
