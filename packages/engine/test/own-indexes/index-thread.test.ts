import { mkdir, rm } from "node:fs/promises";
import path from "node:path";
import { makeTemporaryFolder } from "@cairn/kv";
import { afterEach, beforeEach, expect, it } from "vitest";
import { IndexThread } from "../../src/own-indexes/index-thread.ts";
import { JSON_INDEX } from "./own-scene.ts";

let folder: string;
beforeEach(async () => {
  folder = await makeTemporaryFolder("cairn-thread-");
});
afterEach(async () => await rm(folder, { recursive: true, force: true }));

it("says why a copy of the node's index cannot be read", async () => {
  const [dir, copy] = [path.join(folder, "own"), path.join(folder, "copy")];
  await mkdir(dir);
  const served = { module: JSON_INDEX, options: {}, context: { name: "json", version: 1, dir } };
  const thread = await IndexThread.start(served, () => undefined, new AbortController().signal);
  try {
    await expect(thread.build(copy, undefined, () => undefined)).rejects.toThrow(
      `the copy of the index in ${copy} is empty`,
    );
  } finally {
    await thread.close();
  }
});
