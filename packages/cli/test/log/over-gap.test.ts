// @module-tag nats
import { rm } from "node:fs/promises";
import path from "node:path";
import { expect, it, onTestFinished, vi } from "vitest";
import type { CairnNode } from "@cairn/engine";
import { NatsOperator } from "@cairn/log-nats/testing";
import { cairn, CapturedTerminal, type CommandResult } from "@cairn/test-support/nodes/captured-terminal";
import { ClusterScene, put } from "@cairn/test-support/nodes/cluster-scene";
import { BACKED_UP, backedUp } from "@cairn/test-support/nodes/recovery-scene";

/** The log of a stopped node `a` whose documents k0 to k8 are in its messages 2 to 10; those at `positions` were deleted. */
async function withoutMessages(
  positions: readonly number[],
  { isBackedUp = false, keepsIndex = false } = {},
): Promise<{ readonly scene: ClusterScene; readonly digest: string }> {
  const scene = await ClusterScene.open();
  onTestFinished(() => scene.close());
  await NatsOperator.at(scene.nats.url, async (nats) => await nats.makeDeletable());
  const a = await scene.ready("a", isBackedUp ? { parts: BACKED_UP } : {});
  const last = await put(a, 0, 9, "value");
  expect(last).toBe(10);
  if (isBackedUp) await backedUp(a, last);
  const { digest } = await a.digest();
  await scene.stop(a);
  await NatsOperator.at(scene.nats.url, async (nats) => {
    for (const position of positions) await nats.deleteMessage(position);
  });
  if (!keepsIndex) await rm(scene.dbDir("a"), { recursive: true });
  return { scene, digest };
}

async function recover(scene: ClusterScene, id = "a"): Promise<CommandResult> {
  const env = {
    NATS_URL: scene.nats.url,
    CAIRN_NODE_ID: id,
    CAIRN_CHECKPOINT_PATH: path.join(scene.folder, "checkpoints"),
    CAIRN_INDEX_PATH: scene.dbDir(id),
  };
  return await cairn(["log", "recover", "--over-gap"], new CapturedTerminal({ cwd: scene.folder, env }));
}

async function failed(scene: ClusterScene, id: string): Promise<CairnNode> {
  const node = await scene.start(id);
  await vi.waitFor(async () => expect((await node.status()).failure).toMatchObject({ code: "LOG_GAP" }), {
    timeout: 20_000,
  });
  return node;
}

const revisions = async (node: CairnNode): Promise<readonly (number | undefined)[]> =>
  await Promise.all(
    Array.from({ length: 9 }, async (_, n) => {
      const found = await node.get({ bucket: "things", namespace: "default", name: `k${n}` });
      return found?.revision;
    }),
  );

it.each([
  ["inside", [5, 6, 9], 10],
  // The log gets another message, because a checkpoint must end with one that the log holds.
  ["inside and at the end of", [4, 10], 11],
])(
  "log recover --over-gap keeps everything but the messages that are missing %s a log, for nodes that wait before them",
  { tags: "rest/slow" },
  async (_, positions, last) => {
    const { scene } = await withoutMessages(positions);
    const waiting = await failed(scene, "b");
    expect(await recover(scene)).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(
        `^saved checkpoint-${last}-.*everything up to transaction ${last} of the log cairn except ${positions.length} messages`,
      ),
    });
    const kept = Array.from({ length: 9 }, (_value, n) => (positions.includes(n + 2) ? undefined : n + 2));
    for (const node of [waiting, await scene.start("c")]) {
      await vi.waitFor(() => expect(node.phase).toBe("ready"), { timeout: 40_000 });
      expect(await revisions(node)).toEqual(kept);
    }
    await put(waiting, 20, 21, "more");
    // There is nothing to do any more.
    expect(await recover(scene)).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^CONFLICT: Nothing/m),
    });
  },
);

it("log recover --over-gap loses nothing that the log's backup has", { tags: "rest/slow" }, async () => {
  const { scene, digest } = await withoutMessages([5, 6], { isBackedUp: true });
  const { code, stdout } = await recover(scene);
  expect([code, stdout.includes("except")]).toEqual([0, false]);
  const b = await scene.ready("b");
  expect((await b.digest()).digest).toBe(digest);
});

it("log recover --over-gap gives up nothing that a checkpoint ends with", { tags: "rest/slow" }, async () => {
  const scene = await ClusterScene.open();
  onTestFinished(() => scene.close());
  await NatsOperator.at(scene.nats.url, async (nats) => await nats.makeDeletable());
  const a = await scene.ready("a");
  const saved = await put(a, 0, 4, "value");
  expect(await a.checkpoint().done).toHaveProperty("checkpoint");
  await put(a, 4, 9, "value");
  const { digest } = await a.digest();
  await scene.stop(a);
  await NatsOperator.at(scene.nats.url, async (nats) => await nats.deleteMessage(saved));
  await rm(scene.dbDir("a"), { recursive: true });
  expect(await recover(scene)).toMatchObject({
    code: 1,
    stderr: expect.stringContaining("CONFLICT: Nothing"),
  });
  expect((await (await scene.ready("b")).digest()).digest).toBe(digest);
});

it.each(["the index of a stopped node", "a node"])(
  "log recover --over-gap gives up nothing that %s has",
  { tags: "rest/slow" },
  async (holder) => {
    const { scene, digest } = await withoutMessages([5], { keepsIndex: true });
    const b = await failed(scene, "b");
    const isRunning = holder === "a node";
    const running = isRunning ? await scene.ready("a") : undefined;
    expect(await recover(scene, isRunning ? "b" : "a")).toMatchObject({
      code: 1,
      stderr: expect.stringContaining(
        `CONFLICT: Nothing was saved: transaction 5, which the log lacks, is in the index ${isRunning ? "of node a" : "in "}`,
      ),
    });
    // What the hint says.
    const a = running ?? (await scene.ready("a"));
    expect(await a.checkpoint().done).toHaveProperty("checkpoint");
    await vi.waitFor(() => expect(b.phase).toBe("ready"), { timeout: 40_000 });
    expect((await b.digest()).digest).toBe(digest);
  },
);
