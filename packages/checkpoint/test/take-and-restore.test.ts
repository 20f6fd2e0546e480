import { join } from "node:path";
import { expect, test } from "vitest";
import { filesystemStore, listCheckpoints, restoreCheckpoint, takeCheckpoint } from "../src/index.ts";
import { contentsOf, digestsOf, someFiles, temporaryDirectory, testSource } from "./support/places.ts";

test("what is saved in a folder is restored byte for byte", async () => {
  const dir = await temporaryDirectory();
  const store = filesystemStore({ path: join(dir, "store") });
  const source = testSource();
  source.files = someFiles();
  const outcome = await takeCheckpoint({
    source,
    options: { store, approxFrequency: 1000, checkpointDir: join(dir, "capture"), compression: "none" },
  });
  expect(outcome.outcome).toBe("taken");
  const list = await listCheckpoints(store);
  expect(list.checkpoints).toHaveLength(1);
  const result = await restoreCheckpoint({
    stores: [store],
    stagingDir: join(dir, "staging"),
    targetDir: join(dir, "live"),
    node: "node-2",
    accept: async () => true,
  });
  expect(result.restored?.name).toBe(list.checkpoints[0]?.name);
  expect(await contentsOf(join(dir, "live"))).toEqual(digestsOf(source.files));
});
