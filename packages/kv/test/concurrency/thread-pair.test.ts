import { execFileSync } from "node:child_process";
import { closeSync, openSync, writeSync } from "node:fs";
import { Worker } from "node:worker_threads";
import { expect, onTestFinished, test, vi } from "vitest";
import { startThreadPair } from "../../src/concurrency/thread-pair.ts";
import { testDirectory } from "../support/test-directory.ts";
import { threadModule } from "../support/thread-module.ts";

const directory = testDirectory();

/**
 * Starts two threads that run these programs. In a program, `peer` is the channel to the other thread, and `tell` sends
 * a message to the test.
 */
async function pair(first: string, second: string, secondStart: unknown = 20) {
  const module = await threadModule(
    directory,
    `const { peer, start, isFirst } = workerData; if (isFirst) { ${first} } else { ${second} }`,
  );
  return startThreadPair<number>(module, { start: 1, isFirst: true }, { start: secondStart });
}

const STAYS = "peer.on('message', () => undefined);";

test("each thread receives its start data and the channel to the other one, and the first thread communicates with the caller", async () => {
  const { worker, sent, terminate } = await pair(
    "peer.on('message', (given) => tell(start + given)); parentPort.on('message', (given) => peer.postMessage(given));",
    "peer.on('message', (given) => peer.postMessage(start + given));",
  );
  worker.postMessage(300, []);
  expect(await sent.take()).toBe(321);
  await terminate();
});

test("an error that ends the second thread is thrown to callers that wait for the first", async () => {
  const { sent, terminate } = await pair(STAYS, 'throw new TypeError("a mistake");');
  await expect(sent.take()).rejects.toThrow("a mistake");
  await terminate();
});

test("an exit of the second thread without an error also makes callers fail", async () => {
  const { sent, terminate } = await pair(STAYS, "process.exit(0);");
  await expect(sent.take()).rejects.toThrow("it ended early");
  await terminate();
});

test("the error of the second thread is thrown even if this thread was busy while both ended", async () => {
  const { sent, terminate } = await pair(STAYS, 'throw new TypeError("a mistake");');
  const waiting = sent.take();
  const busyUntil = performance.now() + 500;
  while (performance.now() < busyUntil);
  await expect(waiting).rejects.toThrow("a mistake");
  await terminate();
});

test("an early end of the first thread makes callers fail, whatever the other thread does", async () => {
  const { sent, terminate } = await pair("process.exit(0);", `${STAYS} setInterval(() => undefined, 1000);`);
  await expect(sent.take()).rejects.toThrow("it ended early");
  await terminate();
});

test("if the second thread cannot be started, the first is terminated", async () => {
  const ended = vi.spyOn(Worker.prototype, "terminate");
  // A function cannot be sent to a thread.
  const starting = pair(STAYS, STAYS, () => undefined);
  await expect(starting).rejects.toThrow("could not be cloned");
  expect(ended).toHaveBeenCalledOnce();
  vi.restoreAllMocks();
});

test("terminating a pair waits for both threads", async () => {
  const { sent, worker, terminate } = await pair(
    `${STAYS} peer.once('message', (buffer) => tell(buffer));`,
    "const own = new Int32Array(new SharedArrayBuffer(8)); peer.postMessage(own); setInterval(() => (own[0] += 1), 0);",
  );
  const own = (await sent.take()) as unknown as Int32Array;
  await terminate();
  const ended = own[0];
  // If the other thread were still running, it would count in the meantime.
  const again = await pair("tell(1);", STAYS);
  await again.sent.take();
  await again.terminate();
  expect(own[0]).toBe(ended);
  expect(worker.threadId).toBe(-1);
});

test(
  "after an abort, terminating a pair does not wait for a thread whose system call does not return",
  { tags: "rest/slow" },
  async () => {
    execFileSync("mkfifo", [directory.path("pipe")]);
    const pipe = openSync(directory.path("pipe"), "r+");
    const { sent, terminate } = await pair(
      "peer.on('message', tell);",
      "peer.postMessage(1); require('node:fs').readSync(start, Buffer.alloc(1));",
      pipe,
    );
    onTestFinished(async () => {
      // The call returns, so that the thread ends.
      writeSync(pipe, "x");
      await terminate();
      closeSync(pipe);
    });
    await sent.take();
    const stop = new AbortController();
    const stopped = terminate(stop.signal);
    stop.abort();
    await stopped;
    await terminate(stop.signal);
  },
);
