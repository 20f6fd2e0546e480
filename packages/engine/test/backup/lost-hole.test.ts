// @module-tag nats
import { readdir, readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { expect, it, onTestFinished, vi } from "vitest";
import { parseSegmentName } from "../../src/backup/segments/segment-name.ts";
import { NatsOperator } from "@cairn/log-nats/testing";
import { ClusterScene, put } from "@cairn/test-support/nodes/cluster-scene";
import { BACKED_UP, backedUp, done, run } from "@cairn/test-support/nodes/recovery-scene";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";
import type { CairnNode } from "../../src/node/node.ts";

const opened = async (): Promise<ClusterScene> => {
  const scene = await ClusterScene.open();
  onTestFinished(() => scene.close());
  return scene;
};

it(
  "a hole in a backup that the log cannot fill is a finding as long as verify reports it, which its hint ends",
  { tags: "rest/slow" },
  async () => {
    const scene = await opened();
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
    const scene = await opened();
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

async function written(node: CairnNode, from: number, to: number): Promise<number> {
  const last = await put(node, from, to, "x");
  await backedUp(node, last);
  return last;
}

const flip = async (file: string): Promise<void> => {
  const content = await readFile(file);
  const at = Math.floor(content.length / 2);
  content.writeUInt8(content.readUInt8(at) ^ 1, at);
  await writeFile(file, content);
};

/** Does something to the segments of transactions after `from`, through `to`. */
async function harm(
  scene: ClusterScene,
  from: number,
  to: number,
  how: (file: string) => Promise<void>,
): Promise<void> {
  const store = path.join(scene.folder, "checkpoints");
  const names = (await readdir(store, { recursive: true })).filter((name) => {
    const { first = 0, last = 0 } = parseSegmentName(name) ?? {};
    return first > from && last <= to;
  });
  expect(names).not.toEqual([]);
  for (const name of names) await how(path.join(store, name));
}

it.each([
  ["is damaged", flip],
  ["is missing", rm],
])(
  "everything after a checkpoint is used if the segment that ends there %s",
  { tags: "rest/slow" },
  async (_what, how) => {
    const scene = await opened();
    const a = await scene.ready("a", { parts: BACKED_UP });
    const before = await written(a, 0, 3);
    const saved = await written(a, 3, 5);
    const name = await saveCheckpoint(a);
    const last = await written(a, 5, 8);
    await scene.stop(a);
    await rm(scene.dbDir("a"), { recursive: true });
    await harm(scene, before, saved, how);
    await scene.loseLog();

    const planned = await done(scene, "log", "recover", "--dry-run");
    expect(planned).toContain(`continues after transaction ${last}: from ${name}`);
    const output = path.join(scene.folder, "past");
    const restored = await done(scene, "checkpoint", "restore", "--at-tx", `${last}`, "-o", output);
    expect(restored).toContain(`restored transaction ${last} `);
    expect(restored).toContain(`from ${name} in `);
    expect(restored).toContain("and 3 transactions from");

    await done(scene, "log", "recover", "--at-tx", `${saved}`, "--yes");
    const printed = await done(scene, "log", "orphans", "--from-backup");
    expect(printed.match(/"x"/g)).toHaveLength(last - saved);
  },
);

it("a checkpoint of another history is not continued beyond a hole", { tags: "rest/slow" }, async () => {
  const scene = await opened();
  const a = await scene.ready("a", { parts: BACKED_UP });
  const before = await written(a, 0, 3);
  await scene.stop(a);
  await scene.copyLog();
  const again = await scene.ready("a");
  const lost = await put(again, 3, 5, "lost");
  await saveCheckpoint(again);
  await scene.stop(again);
  await scene.rollBackLog();
  const b = await scene.ready("b", { parts: BACKED_UP });
  expect(await written(b, 3, 5)).toBe(lost);
  const last = await written(b, 5, 8);
  await scene.stop(b);
  for (const id of ["a", "b"]) await rm(scene.dbDir(id), { recursive: true });
  await harm(scene, before, lost, rm);
  await scene.loseLog();

  const output = path.join(scene.folder, "past");
  const restored = await run(scene, "checkpoint", "restore", "--at-tx", `${last}`, "-o", output);
  expect(restored).toMatchObject({
    code: 1,
    stderr: expect.stringContaining(`exactly to transaction ${last}.`),
  });
  expect((await run(scene, "log", "recover", "--dry-run")).stdout).not.toContain(
    `continues after transaction ${last}: `,
  );
});
