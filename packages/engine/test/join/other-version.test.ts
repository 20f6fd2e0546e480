// @module-tag nats
import { access, mkdir, readFile, readdir, rm } from "node:fs/promises";
import path from "node:path";
import { levelProvider } from "@cairn/kv";
import { expect, it, vi } from "vitest";
import { INDEX_VERSION, readState } from "../../src/index/rows/index-state.ts";
import type { CairnNode } from "../../src/node/node.ts";
import { saveAltered } from "@cairn/test-support/nodes/altered-index";
import { put, trimScene, trimTo, twoCheckpoints } from "@cairn/test-support/nodes/trim-scene";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";

const LATER = { version: INDEX_VERSION + 1 };

async function failureOf(node: CairnNode) {
  await vi.waitFor(() => expect(node.phase).toBe("failed"), { timeout: 30_000 });
  return (await node.status()).failure;
}

/** Returns the error code of this version's refusal to open the index in a folder. */
async function codeOf(dir: string): Promise<string> {
  const kv = await levelProvider().open(dir);
  const error: unknown = await readState(kv).catch((thrown: unknown) => thrown);
  await kv.close();
  return typeof error === "object" && error !== null && "code" in error ? String(error.code) : "readable";
}

it("a node skips and keeps an index and checkpoints of another version, and builds its own from the log", async () => {
  const scene = await trimScene("embedded");
  const node = await scene.start("first");
  await node.ready;
  await put(node, 0, 10);
  const { digest } = await node.digest();
  await node.close();
  const theirs = await saveAltered(scene, "first", LATER);
  const again = await scene.start("first");
  await again.ready;
  const { join } = await again.status();
  expect(join).toMatchObject({
    restoredFrom: null,
    skipped: [{ name: theirs, code: "INDEX_VERSION" }],
    movedAside: [{ code: "INDEX_VERSION" }],
  });
  expect((await again.digest()).digest).toBe(digest);
  await put(again, 10, 11);
  await saveCheckpoint(again);
  // A checkpoint of the previous version is kept, whatever this version saves.
  expect(await scene.checkpoints()).toContain(theirs);
  expect(await codeOf(path.join(join.movedAside[0]?.path ?? "", "live"))).toBe("INDEX_VERSION");
});

it("a node restores the newest checkpoint of its own version despite newer ones of another version", async () => {
  const scene = await trimScene("embedded");
  const [, newer] = await twoCheckpoints(scene);
  const theirs = await saveAltered(scene, "first", LATER);
  const node = await scene.start("second");
  await node.ready;
  expect((await node.status()).join).toMatchObject({
    restoredFrom: { name: newer },
    skipped: [{ name: theirs, code: "INDEX_VERSION" }],
    replayed: 10,
  });
});

it("if only another version has the trimmed messages, a node reports the missing transactions, their last location, and the location of its index", async () => {
  const scene = await trimScene("embedded");
  const node = await scene.start("first");
  await node.ready;
  await put(node, 0, 10);
  await node.close();
  const theirs = await saveAltered(scene, "first", LATER);
  await trimTo(scene, 8);
  const again = await scene.start("first");
  const failure = await failureOf(again);
  const [{ path: aside } = { path: "" }] = (await again.status()).join.movedAside;
  expect(failure).toMatchObject({
    code: "LOG_TRIMMED",
    message: expect.stringMatching(
      /no longer holds the messages before its message 8, .*Transactions up to 11 were last in /,
    ),
    hint: expect.stringContaining(aside),
  });
  expect(failure?.message).toContain(theirs);
  // The index that was moved aside is intact, so the hint must not ask for a restore.
  expect(failure?.hint).toContain("run that version");
  expect(failure?.hint).not.toContain("Restore that checkpoint");
  expect(await codeOf(path.join(aside, "live"))).toBe("INDEX_VERSION");
  // Only this index has the first transactions, so it is not removed with old ones.
  const note = path.join(aside, "why.json");
  expect(JSON.parse(await readFile(note, "utf8"))).toMatchObject({ holdsLost: true });
});

it("a node leaves an index of another version in its place, and creates no log, if there is no log", async () => {
  const scene = await trimScene("embedded");
  const node = await scene.start("first");
  await node.ready;
  await put(node, 0, 3);
  await node.close();
  await saveAltered(scene, "first", LATER);
  await rm(path.join(scene.folder, "log"), { recursive: true });
  await rm(path.join(scene.folder, "checkpoints"), { recursive: true });
  await mkdir(path.join(scene.folder, "checkpoints"));
  expect(await failureOf(await scene.start("first"))).toMatchObject({
    code: "LOG_DIFFERENT",
    message: expect.stringContaining("it is unknown what the local index holds (INDEX_VERSION: "),
  });
  const index = path.join(scene.folder, "first-index");
  await access(path.join(index, "live", "CURRENT"));
  expect(await readdir(index)).not.toContain("quarantine");
});
