import { mkdtemp, open, readdir, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { CairnNode } from "../../src/node/node.ts";
import { startNode } from "@cairn/node";
import { cairn, CapturedTerminal } from "@cairn/test-support/nodes/captured-terminal";

const DOCUMENTS = 12;

describe("an embedded log damaged in the middle and repaired according to the hint of LOG_GAP", () => {
  let folder = "";
  let node: CairnNode | undefined;
  const environment = (): Record<string, string> => ({
    CAIRN_NODE_ID: "n",
    CAIRN_CHECKPOINT_PATH: path.join(folder, "checkpoints"),
  });
  const logFolder = (): string => path.join(folder, "cairn-data", "n-log");
  const start = async (): Promise<CairnNode> => {
    const config = {
      "cairn/http-server": { port: 0 },
      "cairn/tx-log": { "cairn/module": "cairn.embedded/->tx-log" },
    };
    node = await startNode(config, { env: environment(), cwd: folder });
    return node;
  };
  const command = (argv: readonly string[]) =>
    cairn(argv, new CapturedTerminal({ cwd: folder, env: environment() }));

  beforeEach(async () => {
    folder = await mkdtemp(path.join(tmpdir(), "cairn-damaged-log-"));
  });
  afterEach(async () => {
    await node?.close();
    await rm(folder, { recursive: true, force: true });
  });

  /** Puts documents, saves a checkpoint after the first half if requested, and damages the log. */
  const damagedLog = async (withCheckpoint: boolean): Promise<void> => {
    const running = await start();
    await running.ready;
    for (let n = 1; n <= DOCUMENTS; n += 1) {
      const { txId } = await running.submit({ ops: [["put", "docs", `d${n}`, n]] });
      await running.await(txId);
      if (n !== DOCUMENTS / 2 || !withCheckpoint) continue;
      await running.checkpoint().done;
    }
    await running.close();
    const [wal = ""] = (await readdir(logFolder())).filter((file) => file.endsWith(".log"));
    const file = await open(path.join(logFolder(), wal), "r+");
    await file.write("damage", 600);
    await file.close();
  };

  const expectRefused = async (): Promise<void> => {
    const refused = await start();
    expect(await failureOf(refused)).toMatchObject({
      code: "LOG_GAP",
      hint: expect.stringMatching(
        /stop the node, move the folder away \(keep it\), run (?:cd \S+ && )?(?:[A-Z_]+=\S+ )*cairn log recover.*, which continues from the node's index/,
      ),
    });
    await refused.close();
  };

  it.each([true, false])("recovers all documents (with a checkpoint: %s)", async (withCheckpoint) => {
    await damagedLog(withCheckpoint);
    await expectRefused();
    await rename(logFolder(), path.join(folder, "moved-away"));
    expect(await command(["log", "recover"])).toMatchObject({ code: 0, stderr: "" });
    const running = await start();
    await running.ready;
    for (let n = 1; n <= DOCUMENTS; n += 1) {
      expect((await running.get({ bucket: "docs", namespace: "default", name: `d${n}` }))?.json).toBe(`${n}`);
    }
  });
});

async function failureOf(failing: CairnNode) {
  await vi.waitFor(() => expect(failing.phase).toBe("failed"), { timeout: 30_000 });
  return (await failing.status()).failure;
}
