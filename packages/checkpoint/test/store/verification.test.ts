import { join } from "node:path";
import { readFile, writeFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { filesystemStore, listCheckpoints, markVerified, readVerification } from "../../src/index.ts";
import { checkpointFile } from "../../src/store/checkpoint.ts";
import { temporaryDirectory } from "../support/places.ts";

const NAME = "checkpoint-7-2026-11-20T06-12-26.123Z-1f3a9c0e";
const ARCHIVE = { name: `${NAME}.tar`, bytes: 3, sha256: "a".repeat(64) };
const FOUND = { node: "node-1", digest: `sha256:${"b".repeat(64)}`, archive: ARCHIVE };

test("a mark states the time, the node and the digest", async () => {
  const store = filesystemStore({ path: await temporaryDirectory() });
  expect(await readVerification(store, NAME, ARCHIVE)).toBeUndefined();
  const before = await store.now();
  const mark = await markVerified(store, NAME, FOUND);
  expect(mark).toMatchObject({ node: "node-1", digest: FOUND.digest });
  expect(Date.parse(mark.verifiedAt)).toBeGreaterThanOrEqual(before);
  expect(await readVerification(store, NAME, ARCHIVE)).toEqual(mark);
});

test("a later mark replaces the earlier one", async () => {
  const store = filesystemStore({ path: await temporaryDirectory() });
  await markVerified(store, NAME, FOUND);
  await markVerified(store, NAME, { ...FOUND, node: "node-2" });
  expect(await readVerification(store, NAME, ARCHIVE)).toMatchObject({ node: "node-2" });
});

test("a mark for another archive does not count", async () => {
  const store = filesystemStore({ path: await temporaryDirectory() });
  await markVerified(store, NAME, FOUND);
  expect(await readVerification(store, NAME, { ...ARCHIVE, sha256: "c".repeat(64) })).toBeUndefined();
});

test.each(["", "{", "null", '{"verifiedAt": "yesterday"}'])(
  "a mark with the content %j does not count",
  async (text) => {
    const path = await temporaryDirectory();
    await writeFile(join(path, checkpointFile(NAME, "verified")), text);
    expect(await readVerification(filesystemStore({ path }), NAME, ARCHIVE)).toBeUndefined();
  },
);

test("a mark alone is no checkpoint", async () => {
  const path = await temporaryDirectory();
  const store = filesystemStore({ path });
  await markVerified(store, NAME, FOUND);
  expect(await listCheckpoints(store)).toEqual({ checkpoints: [], skipped: [] });
  expect(await readFile(join(path, `${NAME}.verified.json`), "utf8")).toMatch(/\n$/);
});
