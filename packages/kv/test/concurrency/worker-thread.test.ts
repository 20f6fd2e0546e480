import { rename } from "node:fs/promises";
import { expect, onTestFinished, test } from "vitest";
import { Inbox } from "../../src/concurrency/inbox.ts";
import type { ThreadModule } from "../../src/concurrency/worker-thread.ts";
import { testDirectory } from "../support/test-directory.ts";
import { MODULE_FILE, threadModule } from "../support/thread-module.ts";

const directory = testDirectory();

/** Starts a thread. Returns its messages, which end with its failure if it exits. */
function start(module: ThreadModule, order: object = {}): Inbox<number> {
  const sent = new Inbox<number>();
  const worker = module.start(order, sent);
  worker.on("exit", () => sent.fail(module.failure()));
  onTestFinished(() => void worker.terminate());
  return sent;
}

test("messages that a thread sent before it ended are taken, and then it has ended early", async () => {
  const sent = start(await threadModule(directory, "tell(1); tell(2);"));
  expect([await sent.take(), await sent.take()]).toEqual([1, 2]);
  await expect(sent.take()).rejects.toMatchObject({
    code: "INTERNAL",
    message: "The thread program failed: it ended early.",
    hint: expect.stringMatching(/^Report/) as string,
  });
});

test("the error that ended a thread is thrown, instead of the one for an early end", async () => {
  const sent = start(await threadModule(directory, 'throw new TypeError("a mistake");'));
  await expect(sent.take()).rejects.toMatchObject({
    code: "INTERNAL",
    message: "The thread program failed: a mistake.",
    cause: { name: "TypeError" },
  });
});

test("if a thread is terminated, its waiting takers fail", async () => {
  const module = await threadModule(directory, "setInterval(() => undefined, 1000);");
  const sent = new Inbox<number>();
  const worker = module.start({}, sent);
  worker.on("exit", () => sent.fail(module.failure()));
  const waiting = sent.take();
  await worker.terminate();
  await expect(waiting).rejects.toThrow("it ended early");
});

test("a missing file makes only this start fail, with its path and what to do", async () => {
  const module = await threadModule(directory, "tell(1);");
  await rename(directory.path(MODULE_FILE), directory.path("away.js"));
  await expect(start(module).take()).rejects.toMatchObject({
    code: "CONFIG_MODULE",
    message: `A file of Cairn is missing: ${directory.path(MODULE_FILE)}.`,
    hint: expect.stringContaining("--packages=external") as string,
  });
  await rename(directory.path("away.js"), directory.path(MODULE_FILE));
  expect(await start(module).take()).toBe(1);
});

test("a missing file that the module loads is named", async () => {
  const part = directory.path("part.js");
  const sent = start(await threadModule(directory, `require(${JSON.stringify(part)});`));
  await expect(sent.take()).rejects.toMatchObject({
    code: "CONFIG_MODULE",
    message: `A file of Cairn is missing: ${part}.`,
  });
});

test("a thread that cannot be created throws its reason", async () => {
  const module = await threadModule(directory, "tell(1);");
  // A function cannot be sent to a thread.
  expect(() => start(module, { order: () => undefined })).toThrow(
    expect.objectContaining({ code: "INTERNAL", message: expect.stringContaining("could not be cloned") }),
  );
});
