import { mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { newIdentity } from "@cairn/checkpoint/testing";
import { startNode } from "@cairn/node";
import { cairn, CapturedTerminal, type CommandResult } from "@cairn/test-support/nodes/captured-terminal";
import { put } from "@cairn/test-support/nodes/cluster-scene";
import { backedUp } from "@cairn/test-support/nodes/recovery-scene";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";
import { expect, it, onTestFinished } from "vitest";

it(
  "a log that was lost after a rotation of keys is continued without the segments of the dropped key",
  { tags: "rest/slow" },
  async () => {
    const cwd = await mkdtemp(path.join(tmpdir(), "cairn-rotated-key-"));
    onTestFinished(() => rm(cwd, { recursive: true, force: true }));
    const checkpointer = {
      store: { "cairn/module": "cairn.checkpoint/->filesystem-checkpoint-store", path: "checkpoints" },
      "approx-frequency": "PT6H",
      "log-backup": { every: "PT1S", keep: "all" },
      encryption: { "key-file": "key" },
    };
    const configuration = {
      "cairn/node": { id: "a", dir: "." },
      "cairn/tx-log": { "cairn/module": "cairn.embedded/->tx-log" },
      "cairn/index-store": { "kv-store": { checkpointer } },
      "cairn/http-server": null,
    };
    const [before, after] = [newIdentity(), newIdentity()];
    let checkpoint = "";
    for (const [at, keys] of [[before], [before, after], [after]].entries()) {
      await writeFile(path.join(cwd, "key"), keys.map((key) => `${key}\n`).join(""));
      const node = await startNode(configuration, { env: {}, cwd });
      onTestFinished(() => node.close());
      await node.ready;
      await backedUp(node, await put(node, 4 * at, 4 * at + 2, "x"));
      checkpoint = await saveCheckpoint(node);
      // What follows the checkpoint is in the backup alone.
      await backedUp(node, await put(node, 4 * at + 2, 4 * at + 4, "x"));
      await node.close();
    }
    await rename(path.join(cwd, "a-log"), path.join(cwd, "lost"));
    const log = async (...args: string[]): Promise<CommandResult> =>
      await cairn(["log", ...args, "-j", JSON.stringify(configuration)], new CapturedTerminal({ cwd }));
    expect((await log("status")).stderr).toMatch(/the log backup in \S+ holds transactions up to 13/);
    expect(await log("backup", "prune", "--through", "9")).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^NOT_FOUND: There is no log "a-log" there, but .*cairn log recover/s),
    });
    for (const place of ["a-index", checkpoint])
      expect(await log("recover", "--from", place, "--dry-run")).toMatchObject({ code: 0 });
    await rm(path.join(cwd, "a-index"), { recursive: true });
    // No checkpoint ends before this point.
    expect(await log("recover", "--at-tx", "2")).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(
        /^CHECKPOINT_NOT_FOUND: .*leads to transaction 2\. The beginning of the log backup cannot be used \(KEY_MISSING\)/,
      ),
    });
    expect(await log("recover")).toMatchObject({
      code: 0,
      stdout: expect.stringContaining("which continues after transaction 13 "),
    });
    const node = await startNode(configuration, { env: {}, cwd });
    onTestFinished(() => node.close());
    await node.ready;
    expect((await node.status()).index).toMatchObject({ txId: 14, documents: 12 });
  },
);
