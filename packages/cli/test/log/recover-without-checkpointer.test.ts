import { mkdtemp, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { type CairnNode, startNode } from "@cairn/node";
import { cairn, CapturedTerminal } from "@cairn/test-support/nodes/captured-terminal";
import { expect, it, onTestFinished, vi } from "vitest";

it("the hint of a lost log begins with the checkpointer that a recovery needs, and can be followed", async () => {
  const cwd = await mkdtemp(path.join(tmpdir(), "cairn-no-checkpointer-"));
  onTestFinished(() => rm(cwd, { recursive: true, force: true }));
  const configuration = {
    "cairn/node": { id: "a", dir: "." },
    "cairn/tx-log": { "cairn/module": "cairn.embedded/->tx-log" },
    "cairn/http-server": null,
  };
  const started = async (kvStore: object): Promise<CairnNode> => {
    const node = await startNode(
      { ...configuration, "cairn/index-store": { "kv-store": kvStore } },
      { env: {}, cwd },
    );
    onTestFinished(() => node.close());
    return node;
  };
  const alone = await started({});
  await alone.ready;
  const { txId } = await alone.submit({ ops: [["put", "pods", "default/a", 1]] });
  await alone.await(txId);
  await alone.close();
  await rename(path.join(cwd, "a-log"), path.join(cwd, "lost"));
  const halted = await started({});
  await vi.waitFor(() => expect(halted.phase).toBe("failed"), { timeout: 30_000 });
  const hint = (await halted.status()).failure?.hint ?? "";
  expect(hint).toMatch(/configure a checkpointer with a store .*, and then run .*cairn log recover/);
  await halted.close();

  const checkpointer = {
    store: { "cairn/module": "cairn.checkpoint/->filesystem-checkpoint-store", path: "checkpoints" },
    "approx-frequency": "PT6H",
  };
  const json = JSON.stringify({
    ...configuration,
    "cairn/index-store": { "kv-store": { checkpointer } },
  });
  expect(await cairn(["log", "recover", "-j", json], new CapturedTerminal({ cwd }))).toMatchObject({
    code: 0,
  });
  const again = await started({ checkpointer });
  await again.ready;
  expect(await again.get({ bucket: "pods", namespace: "default", name: "a" })).toMatchObject({ json: "1" });
});
