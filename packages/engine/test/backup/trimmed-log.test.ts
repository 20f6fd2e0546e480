// @module-tag nats
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { NatsOperator } from "@cairn/log-nats/testing";
import { ClusterScene, put } from "@cairn/test-support/nodes/cluster-scene";

const logBackup = { every: 200, keep: "all", codec: "none" } as const;

describe("a log on NATS that was trimmed up to the end of its backup", () => {
  let scene: ClusterScene;
  beforeEach(async () => {
    scene = await ClusterScene.open();
  });
  afterEach(() => scene.close());

  it("is read from the backup by a node that joins without a checkpoint", { tags: "rest/slow" }, async () => {
    const a = await scene.ready("a", { parts: { logBackup } });
    await put(a, 0, 30, "x");
    const { digest, txId } = await a.digest();
    await vi.waitFor(
      async () => {
        const { logBackup: held } = await a.status();
        expect(held?.covered).toEqual([{ first: 1, last: txId }]);
      },
      { timeout: 20_000 },
    );
    await NatsOperator.at(scene.nats.url, (nats) => nats.purgeBefore(20));
    const b = await scene.ready("b");
    await b.await(txId);
    expect(await b.digest()).toEqual({ txId, digest });
    expect((await b.status()).join.replayed).toBe(txId);
  });
});
