import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { Transform } from "node:stream";
import { type CheckpointStore, listCheckpoints } from "@cairn/checkpoint";
import { levelProvider } from "@cairn/kv";
import { expect, it, vi } from "vitest";
import { verifyCheckpoint } from "../../src/checkpoints/verify-checkpoint.ts";
import { observedScene, put } from "@cairn/test-support/nodes/observed-node";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";

it("a node that finds its newest checkpoint damaged saves another one at once, and names that one in its status", async () => {
  const scene = await observedScene();
  const node = await scene.start("a");
  await node.ready;
  const last = async () => (await node.status()).checkpoints.last?.name;
  await put(node, "one");
  const damaged = await saveCheckpoint(node);
  expect(await last()).toBe(damaged);
  const archive = path.join(scene.folder, "checkpoints", `${damaged}.tar`);
  const bytes = await readFile(archive);
  bytes[600] = (bytes[600] ?? 0) ^ 1;
  await writeFile(archive, bytes);
  await expect(node.verifyCheckpoint()).rejects.toMatchObject({ code: "CHECKPOINT_CORRUPT" });
  await vi.waitFor(async () => expect([undefined, damaged]).not.toContain(await last()), 30_000);
});

/** Changes one bit of the first archive that is read. */
function overBadLine(store: CheckpointStore): CheckpointStore {
  let isChanged = false;
  const open: CheckpointStore["open"] = async (...given) => {
    const stored = await store.open(...given);
    if (isChanged || !given[0].endsWith(".tar")) return stored;
    isChanged = true;
    const change = new Transform({
      transform(chunk: Buffer, _, done) {
        const changed = Buffer.from(chunk);
        if (changed.length > 600) changed[600] = (changed[600] ?? 0) ^ 1;
        done(null, changed);
      },
    });
    return stored.pipe(change);
  };
  return new Proxy(store, {
    get(of, name) {
      if (name === "open") return open;
      const value: unknown = Reflect.get(of, name);
      return typeof value === "function" ? (value.bind(of) as unknown) : value;
    },
  });
}

it("a checkpoint is not marked as damaged because a transfer changed it", async () => {
  const scene = await observedScene();
  const node = await scene.start("a");
  await node.ready;
  await put(node, "one");
  const name = await saveCheckpoint(node);
  const stagingDir = path.join(scene.folder, "elsewhere");
  const store = overBadLine(scene.store);
  await verifyCheckpoint({ store, name, provider: levelProvider(), stagingDir, node: "c" });
  expect((await listCheckpoints(scene.store)).checkpoints).toMatchObject([{ name, damaged: false }]);
});

it("a verification of the newest checkpoint names one whose manifest cannot be read, if there is no other", async () => {
  const scene = await observedScene();
  const node = await scene.start("a");
  await node.ready;
  await put(node, "one");
  const name = await saveCheckpoint(node);
  await writeFile(path.join(scene.folder, "checkpoints", `${name}.json`), "{");
  await expect(node.verifyCheckpoint()).rejects.toMatchObject({
    code: "CHECKPOINT_CORRUPT",
    message: expect.stringContaining(name) as string,
  });
});
