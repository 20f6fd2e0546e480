import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { Transform } from "node:stream";
import { type CheckpointStore, listCheckpoints } from "@cairn/checkpoint";
import { levelProvider } from "@cairn/kv";
import { wrapped } from "@cairn/text";
import { expect, it, vi } from "vitest";
import type { CairnNode } from "../../src/index.ts";
import { verifyCheckpoint } from "../../src/checkpoints/verify-checkpoint.ts";
import { type ObservedScene, observedScene, put } from "@cairn/test-support/nodes/observed-node";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";

/** Starts a node that has saved a checkpoint. */
async function savedScene(): Promise<{ scene: ObservedScene; node: CairnNode; name: string }> {
  const scene = await observedScene();
  const node = await scene.start("a");
  await node.ready;
  await put(node, "one");
  return { scene, node, name: await saveCheckpoint(node) };
}

it("a node that finds its newest checkpoint damaged saves another one at once, and names that one in its status", async () => {
  const { scene, node, name: damaged } = await savedScene();
  const last = async () => (await node.status()).checkpoints.last?.name;
  expect(await last()).toBe(damaged);
  const archive = path.join(scene.folder, "checkpoints", `${damaged}.tar`);
  const bytes = await readFile(archive);
  bytes[600] = (bytes[600] ?? 0) ^ 1;
  await writeFile(archive, bytes);
  await expect(node.verifyCheckpoint()).rejects.toMatchObject({ code: "CHECKPOINT_CORRUPT" });
  await vi.waitFor(async () => expect([undefined, damaged]).not.toContain(await last()), 30_000);
});

/** Changes one bit of each archive that is read, up to this number of times. */
function overBadLine(store: CheckpointStore, times: number): CheckpointStore {
  let changed = 0;
  return wrapped<CheckpointStore>(store, {
    open: async (...given) => {
      const stored = await store.open(...given);
      if (changed === times || !given[0].endsWith(".tar")) return stored;
      changed += 1;
      const change = new Transform({
        transform(chunk: Buffer, _, done) {
          const copy = Buffer.from(chunk);
          if (copy.length > 600) copy[600] = (copy[600] ?? 0) ^ 1;
          done(null, copy);
        },
      });
      return stored.pipe(change);
    },
  });
}

it("a checkpoint is marked as damaged only if it is damaged when it is read again, and not once it is verified", async () => {
  const { scene, name } = await savedScene();
  const verifyFrom = async (store: CheckpointStore): Promise<unknown> => {
    const stagingDir = path.join(scene.folder, "elsewhere");
    return await verifyCheckpoint({ store, name, provider: levelProvider(), stagingDir, node: "c" });
  };
  const isMarked = async (): Promise<boolean | undefined> =>
    (await listCheckpoints(scene.store)).checkpoints.find((one) => one.name === name)?.damaged;
  await verifyFrom(overBadLine(scene.store, 1));
  expect(await isMarked()).toBe(false);
  await expect(verifyFrom(overBadLine(scene.store, 2))).rejects.toMatchObject({
    code: "CHECKPOINT_CORRUPT",
    hint: expect.stringMatching(/^Verify it again with cairn checkpoint verify/) as string,
  });
  expect(await isMarked()).toBe(true);
  await verifyFrom(scene.store);
  expect(await isMarked()).toBe(false);
});

it("a verification of the newest checkpoint names one whose manifest cannot be read, if there is no other", async () => {
  const { scene, node, name } = await savedScene();
  await writeFile(path.join(scene.folder, "checkpoints", `${name}.json`), "{");
  await expect(node.verifyCheckpoint()).rejects.toMatchObject({
    code: "CHECKPOINT_CORRUPT",
    message: expect.stringContaining(name) as string,
  });
});
