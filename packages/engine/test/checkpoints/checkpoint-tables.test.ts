import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { type KvProvider, type KvStore, levelProvider } from "@cairn/kv";
import { readCurrentManifest } from "@cairn/kv/src/files/current-manifest";
import { runNode } from "@cairn/node";
import { quietSystem } from "@cairn/test-support/nodes/quiet-system";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";
import { expect, it, onTestFinished } from "vitest";
import { openEmbeddedTxLog } from "../../src/log/embedded/embedded-tx-log.ts";

/** Returns the number of live tables that LevelDB's manifest in `dir` names, and of keys of tables that are gone. */
async function namedIn(dir: string): Promise<{ tables: number; gone: number }> {
  const { tables, pointers, namedKeys } = await readCurrentManifest(dir);
  return { tables: tables.size, gone: namedKeys.length - 2 * tables.size - pointers.size };
}

it("LevelDB's manifest in a checkpoint names its tables, and none of those that the node had before", async () => {
  const folder = await mkdtemp(path.join(tmpdir(), "cairn-checkpoint-tables-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const openTxLog = () => openEmbeddedTxLog({ path: path.join(folder, "log") });
  const stores: KvStore[] = [];
  const level = levelProvider({ writeBufferSize: 64 * 1024 });
  const kvProvider: KvProvider = {
    ...level,
    async open(...opening) {
      const store = await level.open(...opening);
      stores.push(store);
      return store;
    },
  };
  const system = { ...quietSystem({ folder, nodeId: "a", openTxLog }), kvProvider };
  const node = await runNode(system);
  onTestFinished(() => node.close());
  await node.ready;
  for (let n = 0; n < 40; n += 1) {
    const text = randomBytes(30_000).toString("base64");
    await node.await((await node.submit({ ops: [["put", "things", `default/k${n % 20}`, { text }]] })).txId);
  }
  // Afterwards, nothing runs in the background, so the numbers of tables do not depend on the disk's speed.
  await stores[0]?.compact();
  const live = await namedIn(path.join(system.dbDir, "live"));
  expect(live.gone).toBeGreaterThan(2 * live.tables);

  const name = await saveCheckpoint(node);
  const files = path.join(folder, "files");
  await mkdir(files);
  execFileSync("tar", ["-xf", path.join(folder, "checkpoints", `${name}.tar`), "-C", files]);
  const tables = (await readdir(files)).filter((one) => one.endsWith(".ldb")).length;
  expect(await namedIn(files)).toEqual({ tables, gone: 0 });
});
