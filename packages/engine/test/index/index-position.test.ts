import { CairnError } from "@cairn/kv";
import { describe, expect, it } from "vitest";
import { IndexPosition } from "../../src/index/index-position.ts";

describe("a wait for a transaction to be indexed", () => {
  it("ends immediately for an indexed transaction", async () => {
    const position = new IndexPosition();
    position.set(7);
    await position.reached(7, 1);
  });

  it("ends for each waiter when the index reaches its transaction, and not before", async () => {
    const position = new IndexPosition();
    const order: number[] = [];
    const waiting = [3, 1, 2].map(async (txId) => {
      await position.reached(txId, 10_000);
      order.push(txId);
    });
    position.set(2);
    await Promise.resolve();
    await expect.poll(() => order.toSorted()).toEqual([1, 2]);
    position.set(3);
    await Promise.all(waiting);
    expect(order.at(-1)).toBe(3);
  });

  it("ends with TX_TIMEOUT, which names the index's position, if it takes too long", async () => {
    const position = new IndexPosition();
    position.set(4);
    await expect(position.reached(5, 5)).rejects.toMatchObject({
      code: "TX_TIMEOUT",
      message: expect.stringContaining("this node has indexed up to 4"),
    });
  });

  it("ends with the node's error when the node stops", async () => {
    const position = new IndexPosition();
    const waiting = position.reached(1, 10_000);
    position.fail(new CairnError("NOT_READY", "The node is stopping."));
    await expect(waiting).rejects.toMatchObject({ code: "NOT_READY" });
  });

  it("ends with the node's error even if the wait begins after the stop, except for an indexed transaction", async () => {
    const position = new IndexPosition();
    position.set(3);
    position.fail(new CairnError("NOT_READY", "The node is stopping."));
    await expect(position.reached(4, 60_000)).rejects.toMatchObject({ code: "NOT_READY" });
    await position.reached(3, 60_000);
  });

  it("continues for transactions that a replacement of the index has not reached yet", async () => {
    const position = new IndexPosition();
    position.set(9);
    position.set(2);
    await expect(position.reached(5, 5)).rejects.toMatchObject({ code: "TX_TIMEOUT" });
  });
});
