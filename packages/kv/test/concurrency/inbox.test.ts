import { expect, test } from "vitest";
import { Inbox } from "../../src/concurrency/inbox.ts";

test("values that arrive before a taker waits are taken in the order of their arrival", async () => {
  const inbox = new Inbox(["in it"]);
  inbox.put("first");
  inbox.put("second");
  expect([await inbox.take(), await inbox.take(), await inbox.take()]).toEqual(["in it", "first", "second"]);
});

test("waiting takers are served in order, and no value is given twice", async () => {
  const inbox = new Inbox<number>();
  const taken = [inbox.take(), inbox.take(), inbox.take()];
  for (const one of [1, 2, 3]) inbox.put(one);
  expect(await Promise.all(taken)).toEqual([1, 2, 3]);
  inbox.put(4);
  expect(await inbox.take()).toBe(4);
});

test("a failure is thrown to all waiting takers, and to later ones once the queue is empty", async () => {
  const inbox = new Inbox<number>();
  const waiting = [inbox.take(), inbox.take()];
  inbox.fail(new Error("the reason"));
  inbox.fail(new Error("the result of it"));
  for (const one of waiting) await expect(one).rejects.toThrow("the reason");
  inbox.put(1);
  expect(await inbox.take()).toBe(1);
  await expect(inbox.take()).rejects.toThrow("the reason");
});

test("a failure without a waiting taker has no effect on values that arrived before", async () => {
  const inbox = new Inbox([1, 2]);
  inbox.fail(new Error("the reason"));
  expect([await inbox.take(), await inbox.take()]).toEqual([1, 2]);
  await expect(inbox.take()).rejects.toThrow("the reason");
});
