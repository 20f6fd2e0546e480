// @module-tag nats
import { readdir, rm } from "node:fs/promises";
import path from "node:path";
import { expect, it, onTestFinished, vi } from "vitest";
import { parseSegmentName } from "../../src/backup/segments/segment-name.ts";
import { NatsOperator } from "@cairn/log-nats/testing";
import { ClusterScene, put } from "@cairn/test-support/nodes/cluster-scene";
import { BACKED_UP, backedUp, done, run } from "@cairn/test-support/nodes/recovery-scene";

it(
  "a hole in a backup that the log cannot fill is a finding as long as verify reports it, which its hint ends",
  { tags: "rest/slow" },
  async () => {
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
  },
);

it(
  "the pointer shows that the end of a backup is missing, which a node writes again, or a recovery leaves behind",
  { tags: "rest/slow" },
  async () => {
    const scene = await ClusterScene.open();
    onTestFinished(() => scene.close());
    const first = await scene.ready("a", { parts: BACKED_UP });
    const before = await put(first, 0, 3, "x");
    await backedUp(first, before);
    const last = await put(first, 3, 6, "x");
    await backedUp(first, last);
    await scene.stop(first);
    const store = path.join(scene.folder, "checkpoints");
    const removeEnd = async (): Promise<void> => {
      for (const name of await readdir(store, { recursive: true }))
        if ((parseSegmentName(name)?.first ?? 0) > before) await rm(path.join(store, name));
    };
    await removeEnd();
    const verified = await run(scene, "log", "backup", "verify");
    expect(verified).toMatchObject({
      code: 1,
      stdout: expect.stringContaining(`Transactions ${before + 1} to ${last} are missing in the log backup`),
    });
    expect(await done(scene, "log", "backup", "status", "-j", "{}")).toContain(
      `The backup lacks ${before + 1} to ${last}. The log still holds them`,
    );
    const again = await scene.ready("a", { parts: BACKED_UP });
    await backedUp(again, last);
    await scene.stop(again);
    expect(await done(scene, "log", "backup", "verify")).toContain("is intact");

    await removeEnd();
    await rm(scene.dbDir("a"), { recursive: true });
    await scene.loseLog();
    expect(await run(scene, "log", "recover")).toMatchObject({
      code: 1,
      stderr: expect.stringContaining(
        `would lack ${last - before} transactions that are known: the store shows transactions up to ${last}.`,
      ),
    });
    expect(await done(scene, "log", "recover", "--yes")).toContain(
      `continues after transaction ${before} of `,
    );
  },
);
