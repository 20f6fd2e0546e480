import path from "node:path";
import { listCheckpoints } from "@cairn/checkpoint";
import { saveAltered } from "@cairn/test-support/nodes/altered-index";
import { type TrimScene, trimScene, trimTo } from "@cairn/test-support/nodes/trim-scene";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";
import { lastValueIn } from "@cairn/kv";
import { expect, it } from "vitest";
import { dbDirLayout } from "../../../src/db-dir/index-directory.ts";
import { INDEX_VERSION } from "../../../src/index/rows/index-state.ts";
import { STATE_ROW_KEY } from "../../../src/index/rows/row-keys.ts";
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

async function versionOf(dir: string): Promise<unknown> {
  const value = await lastValueIn(dir, STATE_ROW_KEY);
  return (JSON.parse(Buffer.from(value ?? []).toString()) as { version: unknown }).version;
}

it("continues from its index of an older version, although the log no longer holds its beginning", async () => {
  const { scene, digest } = await sceneOfVersion2();
  await trimTo(scene);
  for (const version of [2, INDEX_VERSION]) {
    expect(await versionOf(layoutOf(scene).live)).toBe(version);
    const node = await scene.start("first");
    await node.ready;
    const { join, failure } = await node.status();
    expect([failure, join]).toEqual([
      null,
      expect.objectContaining({ restoredFrom: null, replayed: 0, movedAside: [], skipped: [] }),
    ]);
    if (version === 2) expect((await node.digest()).digest).toBe(digest);
    // Some of them overwrite documents that version 2 wrote.
    await putLarge(node, 30, 34);
    await node.close();
  }
});

it("restores a checkpoint of an older version, which counts as the newest until the next one is due", async () => {
  const { scene, digest } = await sceneOfVersion2();
  const name = await saveAltered(scene, "first", { version: 2, inPlace: undefined });
  await trimTo(scene);
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
