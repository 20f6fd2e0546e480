import { Worker } from "node:worker_threads";
import { expect, onTestFinished, test } from "vitest";
import { Inbox, inboxOf } from "../../src/concurrency/inbox.ts";

function thread(program: string): Worker {
  const worker = new Worker(`const { parentPort } = require("node:worker_threads"); ${program}`, {
    eval: true,
  });
  onTestFinished(() => void worker.terminate());
  return worker;
}

const endedEarly = (): Error => new Error("it ended early");

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

test("messages that a thread sent before it ended are taken, and then the error of its early end is thrown", async () => {
  const inbox = inboxOf<number>(thread("parentPort.postMessage(1); parentPort.postMessage(2);"), endedEarly);
  expect([await inbox.take(), await inbox.take()]).toEqual([1, 2]);
  await expect(inbox.take()).rejects.toThrow("it ended early");
});

test("the error that ended a thread is thrown, instead of the one for an early end", async () => {
  const inbox = inboxOf(thread('throw new TypeError("a mistake");'), endedEarly);
  await expect(inbox.take()).rejects.toThrow("a mistake");
});

test("if a thread is terminated, its waiting takers fail", async () => {
  const worker = thread("setInterval(() => undefined, 1000);");
  const inbox = inboxOf(worker, endedEarly);
  const waiting = inbox.take();
  await worker.terminate();
  await expect(waiting).rejects.toThrow("it ended early");
});
