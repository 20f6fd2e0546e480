// @module-tag nats
import { mkdtemp, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { type CairnNode, startNode } from "@cairn/node";
import { cairn, CapturedTerminal, type CommandResult } from "@cairn/test-support/nodes/captured-terminal";
import { ClusterScene, put } from "@cairn/test-support/nodes/cluster-scene";
import { BACKED_UP, backedUp, run } from "@cairn/test-support/nodes/recovery-scene";
import { expect, it, onTestFinished, vi } from "vitest";

it("a lost log that held no transactions is begun again by its nodes", { tags: "rest/slow" }, async () => {
  const scene = await ClusterScene.open();
  onTestFinished(() => scene.close());
  const [a, b] = [await scene.ready("a", { parts: BACKED_UP }), await scene.ready("b")];
  await backedUp(a, 1);
  const { id } = (await a.status()).log;
  await scene.loseLog();
  await vi.waitFor(
    async () => {
      const states = await Promise.all([a.status(), b.status()]);
      const ids = states.map(({ phase, log }) => (phase === "ready" ? log.id : null));
      expect(new Set(ids).size).toBe(1);
      expect([null, id]).not.toContain(ids[0]);
    },
    { timeout: 30_000 },
  );
  await b.await(await put(a, 0, 1, "x"));
  expect((await run(scene, "log", "status")).code).toBe(0);
});

/** Runs a node with a backup until it holds the birth record, and loses the log. */
async function lostUnwritten(): Promise<{
  cwd: string;
  log: (...args: string[]) => Promise<CommandResult>;
  start: () => Promise<CairnNode>;
}> {
  const cwd = await mkdtemp(path.join(tmpdir(), "cairn-unwritten-log-"));
  onTestFinished(() => rm(cwd, { recursive: true, force: true }));
  const checkpointer = {
    store: { "cairn/module": "cairn.checkpoint/->filesystem-checkpoint-store", path: "checkpoints" },
    "approx-frequency": "PT6H",
    "log-backup": { every: "PT1S" },
  };
  const configuration = {
    "cairn/node": { id: "a", dir: "." },
    "cairn/tx-log": { "cairn/module": "cairn.embedded/->tx-log" },
    "cairn/index-store": { "kv-store": { checkpointer } },
    "cairn/http-server": null,
  };
  const start = async (): Promise<CairnNode> => {
    const node = await startNode(configuration, { env: {}, cwd });
    onTestFinished(() => node.close());
    await node.ready;
    return node;
  };
  const node = await start();
  await backedUp(node, 1);
  await node.close();
  await rename(path.join(cwd, "a-log"), path.join(cwd, "lost"));
  const log = async (...args: string[]): Promise<CommandResult> =>
    await cairn(["log", ...args, "-j", JSON.stringify(configuration)], new CapturedTerminal({ cwd }));
  return { cwd, log, start };
}

it(
  "a backup and an index of a birth record alone are nothing to recover",
  { tags: "rest/slow" },
  async () => {
    const { log, start } = await lostUnwritten();
    expect((await log("status")).stderr).toMatch(
      /^NOT_FOUND: There is no log "a-log" there yet.*Start a node/s,
    );
    const places = [[], ["--at-tx", "1"], ["--from", "a-index"], ["--from", "checkpoints"]];
    for (const args of [...places, ["--dry-run"]])
      expect(await log("recover", ...args)).toMatchObject({
        code: 1,
        stderr: expect.stringMatching(/^(CHECKPOINT_)?NOT_FOUND: .*cairn log create/s),
      });
    expect((await log("backup", "prune", "--through", "1")).stderr).toMatch(/^NOT_FOUND: There is no log/);
    expect((await log("create")).code).toBe(0);
    const node = await start();
    expect((await node.status()).join).toMatchObject({ movedAside: [], orphans: 0 });
  },
);
