import { mkdtemp, open, readdir, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { CairnNode } from "../../src/node/node.ts";
import { startNode } from "@cairn/node";
import { cairn, CapturedTerminal } from "@cairn/test-support/nodes/captured-terminal";

const DOCUMENTS = 12;
const REBUILD = { "cairn/tx-log": { "on-log-mismatch": { different: "rebuild" } } };

describe("an embedded log damaged in the middle and repaired according to the hint of LOG_GAP", () => {
  let folder = "";
  let node: CairnNode | undefined;
  const environment = (): Record<string, string> => ({
    CAIRN_NODE_ID: "n",
    CAIRN_CHECKPOINT_PATH: path.join(folder, "checkpoints"),
  });
  const logFolder = (): string => path.join(folder, "cairn-data", "n-log");
  const start = async (different: "halt" | "rebuild" = "halt"): Promise<CairnNode> => {
    const config = {
      "cairn/http-server": { port: 0 },
      "cairn/tx-log": { "cairn/module": "cairn.embedded/->tx-log", "on-log-mismatch": { different } },
    };
    node = await startNode(config, { env: environment(), cwd: folder });
    return node;
  };
  const command = (argv: readonly string[], stdin?: string) =>
    cairn(
      argv,
      new CapturedTerminal({ cwd: folder, env: environment(), ...(stdin === undefined ? {} : { stdin }) }),
    );

  beforeEach(async () => {
    folder = await mkdtemp(path.join(tmpdir(), "cairn-damaged-log-"));
  });
  afterEach(async () => {
    await node?.close();
    await rm(folder, { recursive: true, force: true });
  });

  /** Puts documents, saves a checkpoint after the first half if requested, and damages the log. */
  const damagedLog = async (withCheckpoint: boolean): Promise<string> => {
    const running = await start();
    await running.ready;
    let name = "";
    for (let n = 1; n <= DOCUMENTS; n += 1) {
      const { txId } = await running.submit({ ops: [["put", "docs", `d${n}`, n]] });
      await running.await(txId);
      if (n !== DOCUMENTS / 2 || !withCheckpoint) continue;
      const saved = await running.checkpoint().done;
      if ("checkpoint" in saved) ({ name } = saved.checkpoint);
    }
    await running.close();
    const [wal = ""] = (await readdir(logFolder())).filter((file) => file.endsWith(".log"));
    const file = await open(path.join(logFolder(), wal), "r+");
    await file.write("damage", 600);
    await file.close();
    return name;
  };

  const expectRefused = async (): Promise<void> => {
    const refused = await start();
    expect(await failureOf(refused)).toMatchObject({
      code: "LOG_GAP",
      hint: expect.stringContaining(
        `move the folder away (keep it), and begin the log again with cairn log recover, which continues from the end of its backup or its newest checkpoint (if there is neither, omit this step). Then start the node with -j '${json(REBUILD)}', stop it again, run cairn log orphans > orphans.ndjson`,
      ),
    });
    await refused.close();
  };

  const loadOrphans = async (running: CairnNode): Promise<void> => {
    // According to the hint, the node must be stopped first, because it holds the log open.
    expect(await command(["log", "orphans"])).toMatchObject({
      code: 3,
      stderr: expect.stringContaining("INDEX_LOCKED") as string,
    });
    await running.close();
    const orphans = await command(["log", "orphans"]);
    expect(orphans.code).toBe(0);
    const again = await start();
    await again.ready;
    const loaded = await command(["load", "-", "--await", "--url", again.url ?? ""], orphans.stdout);
    expect(loaded).toMatchObject({ code: 0 });
    for (let n = 1; n <= DOCUMENTS; n += 1) {
      expect((await again.get({ bucket: "docs", namespace: "default", name: `d${n}` }))?.json).toBe(`${n}`);
    }
  };

  it("recovers all documents from the newest checkpoint and the node's index", async () => {
    await damagedLog(true);
    await expectRefused();
    await rename(logFolder(), path.join(folder, "moved-away"));
    expect((await command(["log", "recover"])).code).toBe(0);
    const running = await start();
    await running.ready;
    await loadOrphans(running);
  });

  it("recovers all documents from the node's index without a checkpoint", async () => {
    await damagedLog(false);
    await expectRefused();
    await rename(logFolder(), path.join(folder, "moved-away"));
    const running = await start("rebuild");
    await running.ready;
    await loadOrphans(running);
  });
});

/** Returns JSON with the usual spacing. */
function json(value: object): string {
  return JSON.stringify(value).replaceAll(":", ": ");
}

async function failureOf(failing: CairnNode) {
  await vi.waitFor(() => expect(failing.phase).toBe("failed"), { timeout: 30_000 });
  return (await failing.status()).failure;
}
