import { mkdtemp, readdir, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { startNode } from "@cairn/node";
import { cairn, CapturedTerminal, type CommandResult } from "@cairn/test-support/nodes/captured-terminal";
import { saveTo } from "@cairn/test-support/stores/saved-checkpoints";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";

let dir = "";
beforeEach(async () => {
  dir = await mkdtemp(path.join(tmpdir(), "cairn-prune-"));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

function prune(...argv: string[]): Promise<CommandResult> {
  const env = {
    CAIRN_NODE_ID: "n",
    CAIRN_DIR: path.join(dir, "data"),
    CAIRN_CHECKPOINT_PATH: path.join(dir, "store"),
  };
  return cairn(["checkpoint", "prune", ...argv], new CapturedTerminal({ cwd: dir, env }));
}

function save(txIds: number[], logId?: string): Promise<string[]> {
  return saveTo(path.join(dir, "store"), txIds, logId);
}

/** Returns the transactions of the listed checkpoints. */
async function left(): Promise<string[]> {
  const names = await readdir(path.join(dir, "store"));
  const manifests = names.filter((name) => /^checkpoint-.*[0-9a-f]\.json$/.test(name));
  return manifests.map((name) => name.split("-")[1] ?? "").toSorted();
}

test("checkpoint prune --dry-run prints which checkpoints would be removed or kept, and why, and prune removes exactly those", async () => {
  const [first = "", second = ""] = await save([1, 2]);
  const dry = await prune("store", "--retain-at-least", "1", "--dry-run");
  expect(dry.code).toBe(0);
  expect(dry.stdout).toMatch(new RegExp(`stays +${second} +2 .* it is one of the newest 1\n`));
  expect(dry.stdout).toMatch(new RegExp(`would be removed +${first} +1 .* it is not one of the newest 1\n`));
  expect(dry.stdout).toMatch(/would remove 1 entry, .*; 1 stay\n$/);
  expect(await left()).toEqual(["1", "2"]);
  const done = await prune("store", "--retain-at-least", "1");
  expect(done.stdout).toMatch(new RegExp(`removed +${first} `));
  expect(await readdir(path.join(dir, "store"))).toEqual([`${second}.json`, `${second}.tar`]);
});

test("checkpoint prune prints one JSON value with every entry", async () => {
  const [first = "", second = ""] = await save([1, 2]);
  const { stdout } = await prune("store", "--retain-at-least", "1", "--json");
  expect(JSON.parse(stdout)).toMatchObject({
    dryRun: false,
    removed: 1,
    failed: [],
    entries: [
      { name: second, keep: true, logId: "log-1", kind: "checkpoint" },
      { name: first, keep: false, txId: 1 },
    ],
  });
});

test("checkpoint prune without a policy removes only leftovers", async () => {
  await save([1, 2]);
  const leftover = path.join(dir, "store", "checkpoint-9-2026-11-20T06-12-26.123Z-1f3a9c0e.tar");
  await writeFile(leftover, "half");
  expect((await prune("store")).stdout).toContain("a node may be writing it");
  const longAgo = new Date(Date.now() - 2 * 3_600_000);
  await utimes(leftover, longAgo, longAgo);
  expect((await prune("store")).stdout).toMatch(/removed +checkpoint-9-.*no manifest/);
  expect(await readdir(path.join(dir, "store"))).toHaveLength(4);
  expect(await left()).toEqual(["1", "2"]);
});

test("checkpoint prune needs --log for a folder with several logs, and --other-logs removes the checkpoints of the other logs", async () => {
  await save([1, 2]);
  await save([50], "log-2");
  const unnamed = await prune("store", "--retain-at-least", "1");
  expect([unnamed.code, unnamed.stderr]).toEqual([2, expect.stringContaining("--log ID")]);
  await prune("store", "--retain-at-least", "1", "--log", "log-1");
  expect(await left()).toEqual(["2", "50"]);
  await prune("store", "--retain-at-least", "1", "--log", "log-1", "--other-logs");
  expect(await left()).toEqual(["2"]);
});

test.each([
  [["--retain-newer-than", "PT7D"], "Did you mean P7D"],
  [["--retain-at-least", "0"], "whole number of at least 1"],
])("%j is refused, and nothing is removed", async (options, told) => {
  await save([1, 2]);
  const { code, stderr } = await prune("store", ...options);
  expect([code, stderr]).toEqual([2, expect.stringContaining(told)]);
  expect(await left()).toEqual(["1", "2"]);
});

test("checkpoint prune with a configuration applies its policy, and neither counts nor removes checkpoints that its log lost", async () => {
  const node = await startNode(
    { "cairn/http-server": null },
    {
      env: {
        CAIRN_NODE_ID: "n",
        CAIRN_DIR: path.join(dir, "data"),
        CAIRN_CHECKPOINT_PATH: path.join(dir, "store"),
      },
      cwd: dir,
    },
  );
  await node.ready;
  for (const value of [1, 2]) {
    const { txId } = await node.submit({ ops: [["put", "things", "a", value]] });
    await node.await(txId);
    await saveCheckpoint(node);
  }
  const { id: logId } = (await node.status()).log;
  await node.close();
  // This is a checkpoint of the same log that claims to be beyond any end the log ever had.
  await save([1000], logId ?? "");
  const { code, stdout } = await prune("--retain-at-least", "1");
  expect(code).toBe(0);
  expect(stdout).toMatch(/stays +checkpoint-1000-.* it holds transactions that the log lost\n/);
  expect(await left()).toEqual(["1000", "3"]);
  const blind = await prune("store", "--lost");
  expect([blind.code, blind.stderr]).toEqual([
    2,
    expect.stringContaining("--lost compares checkpoints with the log"),
  ]);
  await prune("--retain-at-least", "1", "--lost");
  expect(await left()).toEqual(["3"]);
  const other = await prune("--retain-at-least", "1", "--log", "another");
  expect([other.code, other.stderr]).toEqual([2, expect.stringContaining("not another")]);
});

test("checkpoint prune is refused if a running node has the log open, and works with the folder of the store", async () => {
  const env = {
    CAIRN_NODE_ID: "n",
    CAIRN_DIR: path.join(dir, "data"),
    CAIRN_CHECKPOINT_PATH: path.join(dir, "store"),
  };
  const node = await startNode({ "cairn/http-server": null }, { env, cwd: dir });
  await node.ready;
  await save([1, 2]);
  const { code, stderr } = await prune("--retain-at-least", "1");
  expect([code, stderr]).toEqual([
    3,
    expect.stringMatching(/^INDEX_LOCKED: [^]* with the folder of the store in place of a configuration/),
  ]);
  expect(await left()).toEqual(["1", "2"]);
  expect(await prune("store", "--retain-at-least", "1")).toMatchObject({ code: 0 });
  expect(await left()).toEqual(["2"]);
  await node.close();
});
