import { join } from "node:path";
import { expect, test } from "vitest";
import { createSystem } from "../src/create-system.ts";
import { configAsJson } from "../src/print-config.ts";
import { configOf } from "./support/read.ts";

const fixtures = join(import.meta.dirname, "fixtures");
const SEEDS = ["crux.json", "crux.edn", "crux.clj.edn"];

test.each(SEEDS)("%s starts a node unchanged", async (file) => {
  const env = { CAIRN_NODE_ID: "n1", CAIRN_CHECKPOINT_PATH: "/shared/checkpoints" };
  const config = await configOf({ file: join(fixtures, file), env });

  const system = await createSystem(config);

  expect(system.nodeId).toBe("n1");
  expect(system.dbDir).toBe("/srv/cairn-data/n1-index");
  expect(system.kvProvider.format).toBe("leveldb/1");
  expect(system.http).toEqual({ host: "127.0.0.1", port: 3000, maxBody: 1_048_576, page: true });
  expect(system.onLogMismatch).toEqual({ regressed: "rebuild", different: "halt" });
  expect(system.checkpointer).toEqual({
    store: system.checkpointer?.store,
    approxFrequency: 6 * 3_600_000,
    checkpointDir: "/srv/cairn-data/n1-index/capture",
    captureOwner: "/srv/cairn-data/n1-index",
    keepDirBetweenCheckpoints: true,
    keepDirOnClose: false,
    checkpointOnClose: false,
    compression: "none",
  });
  expect(system.checkpointer?.store.location).toBe("file:///shared/checkpoints");
});

test("all three configurations mean the same", async () => {
  const [first, ...others] = await Promise.all(
    SEEDS.map(async (file) => configAsJson(await configOf({ file: join(fixtures, file) })).values),
  );
  expect(others).toEqual([first, first]);
  expect(first).toMatchObject({
    "cairn/index-store": {
      "kv-store": { checkpointer: { store: { path: "/path/to/cp-store" }, "approx-frequency": "PT6H" } },
    },
  });
});

test("each older name is reported once in a notice with its position", async () => {
  const { notices } = await configOf({ file: join(fixtures, "crux.json") });
  expect(notices.map((notice) => notice.replace(`${fixtures}/`, ""))).toEqual([
    "crux.rocksdb/->kv-store (crux.json:4:22) is read as cairn.leveldb/->kv-store.",
    "crux.checkpoint/->checkpointer (crux.json:6:24) is read as cairn.checkpoint/->checkpointer.",
    "crux.checkpoint/->filesystem-checkpoint-store (crux.json:8:26) is read as cairn.checkpoint/->filesystem-checkpoint-store.",
    'No HTTP server is configured, but this node still serves 127.0.0.1:3000 ("cairn/http-server": null disables the server).',
  ]);
});
