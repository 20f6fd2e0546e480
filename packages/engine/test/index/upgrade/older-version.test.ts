import { cp, readdir, readFile, rename, writeFile } from "node:fs/promises";
import path from "node:path";
import { listCheckpoints } from "@cairn/checkpoint";
import { saveAltered } from "@cairn/test-support/nodes/altered-index";
import { type TrimScene, trimScene } from "@cairn/test-support/nodes/trim-scene";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";
import { closing, levelProvider } from "@cairn/kv";
import { expect, it } from "vitest";
import { dbDirLayout } from "../../../src/db-dir/index-directory.ts";
import { INDEX_VERSION } from "../../../src/index/rows/index-state.ts";
import { documentRowKey } from "../../../src/index/rows/row-keys.ts";
import type { CairnNode } from "../../../src/node/node.ts";
import { ofVersion2 } from "../../../testing/index-version.ts";

const layoutOf = (scene: TrimScene, id = "first") => dbDirLayout(path.join(scene.folder, `${id}-index`));

async function putLarge(node: CairnNode, from: number, to: number): Promise<void> {
  for (let n = from; n < to; n += 1) {
    const document = { n, text: "x".repeat(300) };
    await node.await(await node.submit({ ops: [["put", "things", `k${n % 8}`, document]] }));
  }
}

/** Returns the scene of a stopped node with an index of version 2, and the digest of the index. */
async function sceneOfVersion2(): Promise<{ readonly scene: TrimScene; readonly digest: string }> {
  const scene = await trimScene("embedded");
  const node = await scene.start("first");
  await node.ready;
  await putLarge(node, 0, 30);
  const { digest } = await node.digest();
  await node.close();
  await ofVersion2(layoutOf(scene).live);
  return { scene, digest };
}

/** Starts the node and expects it to continue from its own index. Returns the names in its db-dir. */
async function expectContinued(scene: TrimScene, digest: string): Promise<string[]> {
  const node = await scene.start("first");
  await node.ready;
  const { join, failure } = await node.status();
  expect([failure, join]).toEqual([
    null,
    expect.objectContaining({ restoredFrom: null, replayed: 0, orphans: 0, movedAside: [], skipped: [] }),
  ]);
  expect((await node.digest()).digest).toBe(digest);
  await putLarge(node, 30, 31);
  await node.close();
  return await readdir(path.dirname(layoutOf(scene).live));
}

async function trimAll(scene: TrimScene): Promise<void> {
  const log = await scene.openLog();
  const { last } = await log.bounds();
  await log.trim?.(last);
  await log.close();
}

it("continues from its index of an older version, although the log no longer holds its beginning", async () => {
  const { scene, digest } = await sceneOfVersion2();
  await trimAll(scene);
  expect(await expectContinued(scene, digest)).not.toContain("next");
  const { quarantine } = layoutOf(scene);
  const [aside = ""] = await readdir(quarantine);
  const note = JSON.parse(await readFile(path.join(quarantine, aside, "why.json"), "utf8")) as object;
  expect(note).toMatchObject({ code: "INDEX_VERSION", holdsLost: false });
});

it("upgrades again if the process ended while it upgraded, and continues if it ended before its last step", async () => {
  const { scene, digest } = await sceneOfVersion2();
  const { live, next } = layoutOf(scene);
  await cp(live, next, { recursive: true });
  const [table = ""] = (await readdir(next)).filter((name) => name.endsWith(".ldb"));
  await writeFile(path.join(next, table), "half a copy");
  expect(await expectContinued(scene, digest)).not.toContain("next");
  await rename(live, next);
  const node = await scene.start("first");
  await node.ready;
  expect((await node.status()).join).toMatchObject({ restoredFrom: null, replayed: 0 });
  await node.close();
});

it("leaves an index of an older version that is damaged, and says so", async () => {
  const { scene, digest } = await sceneOfVersion2();
  const { live } = layoutOf(scene);
  const key = documentRowKey("things", "default/k1");
  await closing(await levelProvider().open(live), async (kv) => {
    const value = Buffer.from((await kv.get(key)) ?? []);
    value.write("damage", value.length - 10);
    await kv.batch([{ type: "put", key, value }]);
  });
  const node = await scene.start("first");
  await node.ready;
  expect((await node.status()).join).toMatchObject({ movedAside: [{ code: "INDEX_CORRUPT" }], replayed: 31 });
  expect((await node.digest()).digest).toBe(digest);
  expect(await readdir(path.dirname(live))).not.toContain("next");
});

it("restores a checkpoint of an older version, which counts as the newest until the next one is due", async () => {
  const { scene, digest } = await sceneOfVersion2();
  const name = await saveAltered(scene, "first", {});
  await trimAll(scene);
  const node = await scene.start("second");
  await node.ready;
  expect((await node.status()).join).toMatchObject({ restoredFrom: { name }, skipped: [], replayed: 0 });
  expect((await node.digest()).digest).toBe(digest);
  expect((await scene.verify(name)).digest).toBe(digest);
  // Nothing has changed since.
  expect(await saveCheckpoint(node)).toBe(name);
  await putLarge(node, 30, 31);
  await saveCheckpoint(node);
  const { checkpoints } = await listCheckpoints(scene.store);
  expect(checkpoints.map(({ format }) => format.index)).toEqual([INDEX_VERSION, 2]);
});
