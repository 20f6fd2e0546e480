// @module-tag nats
import { rm } from "node:fs/promises";
import path from "node:path";
import { NatsOperator } from "@cairn/log-nats/testing";
import { CapturedTerminal, cairn } from "@cairn/test-support/nodes/captured-terminal";
import { ClusterScene, put } from "@cairn/test-support/nodes/cluster-scene";
import { hurryClock } from "@cairn/test-support/nodes/hurried-clock";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { CairnNode } from "../../../src/node/node.ts";

let scene: ClusterScene;
beforeEach(async () => {
  hurryClock();
  scene = await ClusterScene.open();
});
afterEach(() => scene.close());

const PATIENT = { timeout: 20_000, interval: 50 };

const operator = async <T>(act: (nats: NatsOperator) => Promise<T>): Promise<T> =>
  await NatsOperator.at(scene.nats.url, act);

/** Removes all messages of the log. */
const empty = async (): Promise<void> =>
  await operator(async (nats) => await nats.purgeBefore((await nats.info()).state.last_seq + 1));

/** Ends all readings of the log, so that nodes compare it with their indexes again, and waits for the next ones. */
async function interrupted(nodes: number): Promise<void> {
  await operator(async (nats) => {
    await nats.deleteConsumers();
    await vi.waitFor(async () => expect(await nats.consumers()).toBe(nodes), PATIENT);
  });
}

/** Waits until the log's backup is complete up to a transaction. */
async function backedUp(node: CairnNode, upTo: number): Promise<void> {
  await vi.waitFor(async () => {
    const { logBackup: held } = await node.status();
    expect(held).toMatchObject({ covered: [{ first: 1, last: upTo }], lastFailure: null });
  }, PATIENT);
}

/** Expects that nodes agree, that they take writes, and that they never left `ready`. */
async function areWell(...nodes: readonly CairnNode[]): Promise<void> {
  const [first] = nodes;
  if (first === undefined) throw new Error("no node");
  const txId = await put(first, 50, 53, "afterwards");
  const { digest } = await first.digest();
  for (const node of nodes) {
    await node.await(txId);
    expect(await node.digest()).toEqual({ txId, digest });
    const { phase, failure, join, log } = await node.status();
    expect({ phase, failure, moved: join.movedAside }).toEqual({ phase: "ready", failure: null, moved: [] });
    expect(log).toMatchObject({ reachable: true, lastTxId: txId });
  }
}

describe("nodes whose log was emptied, and lacks nothing", () => {
  it(
    "continue while it is empty, through interruptions and restarts of its server, and write to it",
    { tags: "rest/slow" },
    async () => {
      const [a, b] = [await scene.ready("a"), await scene.ready("b")];
      const last = await put(a, 0, 5, "v");
      await b.await(last);
      await empty();
      await interrupted(2);
      expect((await a.status()).log).toMatchObject({ firstTxId: null, lastTxId: last });
      await scene.nats.kill();
      await scene.nats.start();
      await interrupted(2);
      await areWell(a, b);
      await empty();
      await areWell(b, a);
    },
  );

  it(
    "continue after a restart, also of the server, and after others have written",
    { tags: "rest/slow" },
    async () => {
      const [a, b] = [await scene.ready("a"), await scene.ready("b")];
      const last = await put(a, 0, 5, "v");
      await b.await(last);
      await scene.stop(b);
      await empty();
      await scene.nats.kill();
      await scene.nats.start();
      await scene.stop(a);
      const again = await scene.ready("a");
      await put(again, 5, 7, "more");
      await areWell(again, await scene.ready("b"));
    },
  );

  it("continue its backup, from which alone another node joins", { tags: "rest/slow" }, async () => {
    const logBackup = { every: 200, keep: "all", codec: "none" } as const;
    const a = await scene.ready("a", { parts: { logBackup } });
    const last = await put(a, 0, 5, "v");
    await backedUp(a, last);
    await empty();
    const b = await scene.ready("b");
    expect((await b.status()).join).toMatchObject({ restoredFrom: null, replayed: last });
    // The restarted node does not remember the last message of the backup.
    await scene.stop(a);
    const again = await scene.ready("a", { parts: { logBackup } });
    const later = await put(again, 5, 7, "more");
    await backedUp(again, later);
    await empty();
    await areWell(again, b);
  });

  it(
    "continue when messages become too old, and say from the start that the stream removes them",
    { tags: "rest/slow" },
    async () => {
      const node = await scene.ready("a");
      await operator(async (nats) => await nats.edit({ max_age: 1e9, duplicate_window: 1e9 }));
      await put(node, 0, 5, "v");
      await saveCheckpoint(node);
      await scene.stop(node);
      await operator(async (nats) => {
        await vi.waitFor(async () => expect((await nats.info()).state.messages).toBe(0), PATIENT);
      });
      const [again, fresh] = [await scene.ready("a"), await scene.ready("b")];
      for (const one of [again, fresh])
        expect((await one.status()).findings).toContainEqual(
          expect.objectContaining({
            error: "LOG_UNSAFE",
            message: expect.stringContaining("older than PT1S"),
          }),
        );
      await areWell(again, fresh);
    },
  );
});

describe("nodes whose log was emptied after messages that they lack", () => {
  it("fail, and continue once what the hint says is done word by word", { tags: "rest/slow" }, async () => {
    const a = await scene.ready("a");
    await put(a, 0, 5, "v");
    await saveCheckpoint(a);
    await scene.stop(a);
    const b = await scene.ready("b", { place: "lost" });
    await put(b, 5, 7, "lost");
    await scene.stop(b);
    await empty();
    await rm(scene.dbDir("lost"), { recursive: true });

    const again = await scene.start("a");
    await vi.waitFor(() => expect(again.phase).toBe("failed"), PATIENT);
    const { failure } = await again.status();
    expect(failure).toMatchObject({
      code: "LOG_TRIMMED",
      message: expect.stringContaining("before its message 9"),
    });
    expect(failure?.hint).toContain("nats stream rm cairn");
    expect(failure?.hint).toContain("cairn log recover");
    await operator(async (nats) => await nats.deleteStream());
    const env = {
      NATS_URL: scene.nats.url,
      CAIRN_CHECKPOINT_PATH: path.join(scene.folder, "checkpoints"),
    };
    const { code } = await cairn(["log", "recover"], new CapturedTerminal({ cwd: scene.folder, env }));
    expect(code).toBe(0);
    await vi.waitFor(() => expect(again.phase).toBe("ready"), PATIENT);
    expect((await again.status()).index.documents).toBe(5);
  });
});
