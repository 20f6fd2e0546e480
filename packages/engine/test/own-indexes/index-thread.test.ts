import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { IndexThread } from "../../src/own-indexes/index-thread.ts";
import { JSON_INDEX } from "./own-scene.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-thread-"));
});
afterEach(async () => await rm(folder, { recursive: true, force: true }));

async function withThread(
  options: object,
  work: (thread: IndexThread) => Promise<void>,
  stored: object = {},
): Promise<void> {
  const dir = path.join(folder, "own");
  await mkdir(dir);
  await writeFile(path.join(dir, "index.json"), JSON.stringify({ documents: {}, ...stored }));
  const served = { module: JSON_INDEX, options: { ...options }, context: { name: "json", version: 1, dir } };
  const thread = await IndexThread.start(served, () => undefined, new AbortController().signal);
  try {
    await work(thread);
  } finally {
    await thread.close();
  }
}

it("says why a copy of the node's index cannot be read", { tags: "rest/slow" }, async () => {
  const copy = path.join(folder, "copy");
  await withThread({}, async (thread) => {
    const building = thread.build(copy, undefined, () => undefined);
    await expect(building).rejects.toThrow(`the copy of the index in ${copy} is empty`);
  });
});

it.each([
  ["does not report the end of its capture", { isMute: true }, "capture did not return {copied}"],
  ["throws when it is captured", { isShy: true }, "it is not captured"],
])("says at once that a module %s, and goes on with it", async (_, options, message) => {
  const into = path.join(folder, "captured");
  await mkdir(into);
  await withThread(options, async (thread) => {
    await expect(thread.capture(into, false)).rejects.toThrow(message);
    expect(await thread.digest()).toBe("[]");
  });
});

it.each(["4", 4, null, "4-0123"])("refuses %j as the position of an index", async (position) => {
  const opened = withThread({}, () => Promise.resolve(), { position });
  await expect(opened).rejects.toThrow(
    `its method position returned ${JSON.stringify(position)}, which is no position`,
  );
});
