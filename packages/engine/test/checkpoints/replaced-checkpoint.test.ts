import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { expect, it, vi } from "vitest";
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
