// Writes to a log, an index or a whole node in a folder, and reports the acknowledged writes on its standard output.
// Started by traced-power-loss.test.ts under a trace of its system calls: power-child.js SCENE FOLDER
import { open, readdir, stat } from "node:fs/promises";
import { writeSync } from "node:fs";
import { join } from "node:path";
import { levelProvider } from "@cairn/kv";
import { openEmbeddedTxLog } from "../../src/log/embedded/embedded-tx-log.ts";
import { startNode } from "@cairn/node";
import { nodeConfig, payload, rows } from "./power-scenes.ts";

const [scene = "", folder = ""] = process.argv.slice(2);
const say = (line: string): void => void writeSync(1, `${line}\n`);

const scenes: Readonly<Record<string, () => Promise<void>>> = {
  async log() {
    const path = join(folder, "deep", "log");
    let next = 2;
    for (const groups of [
      [[50], [9_000, 30, 4_000], [70_000], Array.from({ length: 60 }, () => 150)],
      [[20_000], [10, 10], [33_000]],
      // These messages are more than LevelDB keeps in memory, so LevelDB continues in another write-ahead log.
      [[2_200_000, 100], [2_200_000], [300], [40_000], [500]],
    ]) {
      const log = await openEmbeddedTxLog({ path });
      await log.create(() => payload(1, 100));
      say("stored 1");
      for (const sizes of groups) {
        const stored = sizes.map((size) => log.append(payload(next++, size), { messageId: `id ${next}` }));
        await Promise.all(stored);
        say(`stored ${next - 1}`);
      }
      await log.trim?.(next - 20);
      say(`trimmed ${next - 20}`);
      await Promise.all([log.append(payload(next++, 6_000)), log.append(payload(next++, 100))]);
      say(`stored ${next - 1}`);
      await log.close();
    }
  },

  async index() {
    let stored = 0;
    for (let life = 0; life < 3; life += 1) {
      const store = await levelProvider().open(join(folder, "index"));
      for (let batch = 0; batch < 12; batch += 1) {
        await store.batch(rows(stored, stored + 40), { sync: batch % 4 === 3 });
        stored += 40;
        if (batch % 4 === 3) say(`stored ${stored}`);
      }
      if (life === 1) await store.compact();
      await store.close();
    }
  },

  async node() {
    let documents = 0;
    for (let life = 0; life < 3; life += 1) {
      const node = await startNode(nodeConfig(folder), { env: {} });
      await node.ready;
      for (let put = 0; put < 4; put += 1) {
        documents += 1;
        const { txId } = await node.submit({ ops: [["put", "docs", `d${documents}`, { n: documents }]] });
        await node.await(txId, { timeoutMs: 60_000 });
        say(`put ${documents}`);
      }
      if (life < 2) {
        const made = await node.checkpoint().done;
        if ("checkpoint" in made) say(`saved ${made.checkpoint.name}`);
      }
      await node.close();
      if (life === 0) await damage(join(folder, "index", "live"));
    }
  },
};

/** Truncates the index's manifest, so that the next start moves the index aside and restores a checkpoint. */
async function damage(live: string): Promise<void> {
  for (const name of (await readdir(live)).filter((one) => one.startsWith("MANIFEST"))) {
    const file = await open(join(live, name), "r+");
    await file.truncate(Math.floor((await stat(join(live, name))).size / 2));
    await file.sync();
    await file.close();
  }
}

await scenes[scene]?.();
