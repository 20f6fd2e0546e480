// @module-tag nats
import { expect, it, onTestFinished, vi } from "vitest";
import { NatsOperator } from "@cairn/log-nats/testing";
import { ClusterScene, put } from "@cairn/test-support/nodes/cluster-scene";
import { BACKED_UP, backedUp, done, run } from "@cairn/test-support/nodes/recovery-scene";

it("a hole in a backup that the log cannot fill is a finding as long as verify reports it, which its hint ends", async () => {
  const scene = await ClusterScene.open();
  onTestFinished(() => scene.close());
  const first = await scene.ready("a", { parts: BACKED_UP });
  await backedUp(first, await put(first, 0, 5, "x"));
  await scene.stop(first);
  const alone = await scene.ready("a");
  const purged = await put(alone, 0, 5, "y");
  await scene.stop(alone);
  await NatsOperator.at(scene.nats.url, async (nats) => await nats.purgeBefore(purged + 1));
  const node = await scene.ready("a", { parts: BACKED_UP });
  await backedUp(node, await put(node, 0, 5, "z"));
  const { findings } = await node.status();
  const hole = findings.find(({ code }) => code === "log-backup-damaged");
  expect(hole?.message).toBe(
    `Transactions 7 to ${purged} are missing in the log backup in file://${scene.folder}/checkpoints.`,
  );
  const verified = await run(scene, "log", "backup", "verify");
  expect(verified).toMatchObject({ code: 1, stdout: expect.stringContaining(hole?.message ?? "") });

  const [, through = ""] = /cairn log backup prune --through (\d+)$/.exec(hole?.hint ?? "") ?? [];
  expect(await node.checkpoint().done).toHaveProperty("checkpoint");
  await done(scene, "checkpoint", "verify", "-j", "{}");
  await done(scene, "log", "backup", "prune", "--through", through);
  await vi.waitFor(async () => expect((await node.status()).findings).toEqual([]), 10_000);
  await done(scene, "log", "backup", "verify");
});
