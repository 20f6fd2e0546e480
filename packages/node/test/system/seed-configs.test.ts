import { join } from "node:path";
import { expect, test } from "vitest";
import { createSystem } from "../../src/system/create-system.ts";
import { readConfig, requireConfig } from "../../src/system/read-config.ts";

const fixtures = join(import.meta.dirname, "fixtures");

test.each(["crux.json", "crux.edn", "crux.clj.edn"])("%s starts a node as it stands", async (file) => {
  const env = { CAIRN_NODE_ID: "n1", CAIRN_CHECKPOINT_PATH: "/shared/checkpoints" };
  const config = requireConfig(await readConfig({ file: join(fixtures, file), env, cwd: "/srv" }));

  const system = await createSystem(config);

  expect(system.nodeId).toBe("n1");
  expect(system.dbDir).toBe("/srv/cairn-data/n1-index");
  expect(system.kvProvider.format).toBe("leveldb/1");
  expect(system.http).toEqual({ host: "127.0.0.1", port: 3000, maxBody: 1_048_576 });
  expect(system.onLogMismatch).toEqual({ regressed: "rebuild", different: "halt" });
  expect(system.checkpointer).toMatchObject({
    approxFrequency: 6 * 3_600_000,
    checkpointDir: "/srv/cairn-data/n1-index/capture",
    keepDirBetweenCheckpoints: true,
    keepDirOnClose: false,
    checkpointOnClose: false,
    compression: "none",
  });
  expect(system.checkpointer?.store.location).toBe("file:///shared/checkpoints");
  expect(config.notices).toHaveLength(3);
});
