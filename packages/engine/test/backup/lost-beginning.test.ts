// @module-tag nats
import { cp, readdir, rename, rm } from "node:fs/promises";
import path from "node:path";
import type { NodeStatus } from "@cairn/client";
import { NatsOperator } from "@cairn/log-nats/testing";
import { ClusterScene, put } from "@cairn/test-support/nodes/cluster-scene";
import { BACKED_UP, backedUp, done, run } from "@cairn/test-support/nodes/recovery-scene";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { parseSegmentName } from "../../src/backup/segments/segment-name.ts";
import type { CairnNode } from "../../src/node/node.ts";

let scene: ClusterScene;
beforeEach(async () => {
  scene = await ClusterScene.open();
});
afterEach(() => scene.close());

const checkpoints = (): string => path.join(scene.folder, "checkpoints");
const backingUp = async (id: string): Promise<CairnNode> => await scene.ready(id, { parts: BACKED_UP });
const trim = async (upTo: number): Promise<void> =>
  await NatsOperator.at(scene.nats.url, async (nats) => await nats.purgeBefore(upTo));

async function damages(node: CairnNode): Promise<NodeStatus["findings"]> {
  return (await node.status()).findings.filter(({ code }) => code === "log-backup-damaged");
}

/** Returns the paths of the files of the log's backup, in the order of their names. */
async function filesOfBackup(): Promise<string[]> {
  const store = checkpoints();
  const folders = (await readdir(store)).filter((name) => name.startsWith("log-"));
  const files = await Promise.all(
    folders.map(async (folder) =>
      (await readdir(path.join(store, folder))).map((name) => path.join(folder, name)),
    ),
  );
  return files
    .flat()
    .toSorted()
    .map((name) => path.join(store, name));
}

/** Backs up a log in several segments, saves a checkpoint, and trims the log. Returns the first transaction it keeps. */
async function trimmed(node: CairnNode): Promise<number> {
  await backedUp(node, await put(node, 0, 5, "x"));
  const begin = await put(node, 5, 10, "y");
  await backedUp(node, begin);
  expect(await node.checkpoint().done).toHaveProperty("checkpoint");
  await trim(begin);
  return begin;
}

describe("a backup that lacks the beginning of a trimmed log", () => {
  it(
    "is reported with the missing transactions until their files are put back",
    { tags: "rest/slow" },
    async () => {
      const [a, b] = [await backingUp("a"), await backingUp("b")];
      await trimmed(a);
      const [oldest = ""] = await filesOfBackup();
      const { last = 0 } = parseSegmentName(path.relative(checkpoints(), oldest)) ?? {};
      const missing = `${last === 1 ? "Transaction 1 is" : `Transactions 1 to ${last} are`} missing in the log backup in`;
      const away = path.join(scene.folder, "away");
      await rename(oldest, away);
      await put(a, 10, 11, "z");
      for (const node of [a, b])
        await vi.waitFor(async () => {
          const message = expect.stringContaining(missing);
          expect(await damages(node)).toMatchObject([{ severity: "attention", error: "LOG_GAP", message }]);
        }, 10_000);
      expect((await a.status()).verdict.state).toBe("attention");
      const verified = await run(scene, "log", "backup", "verify");
      expect(verified).toMatchObject({ code: 1, stdout: expect.stringContaining(missing) });
      expect(await done(scene, "log", "backup", "status", "-j", "{}")).toContain(missing);
      await cp(away, oldest, { preserveTimestamps: true });
      for (const node of [a, b])
        await vi.waitFor(async () => expect(await damages(node)).toEqual([]), 10_000);
      await done(scene, "log", "backup", "verify");
    },
  );

  it.each([
    ["all files are removed", (name: string) => name.length > 0],
    ["all segments are removed", (name: string) => name.endsWith(".segment")],
  ])(
    "is reported if %s while a node runs, until their loss is accepted",
    { tags: "rest/slow" },
    async (_what, isRemoved) => {
      const a = await backingUp("a");
      const begin = await trimmed(a);
      for (const file of (await filesOfBackup()).filter(isRemoved)) await rm(file);
      await put(a, 10, 11, "z");
      await vi.waitFor(async () => {
        const message = expect.stringContaining(`Transactions 1 to ${begin - 1} are missing`);
        expect(await damages(a)).toMatchObject([{ message }]);
      }, 10_000);
      // Other nodes and later starts find it, too.
      await scene.stop(a);
      const b = await backingUp("b");
      await vi.waitFor(async () => expect(await damages(b)).toHaveLength(1), 10_000);

      const [{ hint } = { hint: "" }] = await damages(b);
      const [, through = ""] = /cairn log backup prune --through (\d+)$/.exec(hint ?? "") ?? [];
      expect(await b.checkpoint().done).toHaveProperty("checkpoint");
      await done(scene, "checkpoint", "verify", "-j", "{}");
      expect(await done(scene, "log", "backup", "prune", "--through", through, "--dry-run")).toContain(
        "would record",
      );
      expect(await damages(b)).toHaveLength(1);
      expect(await done(scene, "log", "backup", "prune", "--through", through)).toMatch(
        /^recorded that the backup begins/,
      );
      await vi.waitFor(async () => expect(await damages(b)).toEqual([]), 10_000);
      await done(scene, "log", "backup", "verify");
      expect(await done(scene, "log", "backup", "prune", "--through", through)).toContain("nothing to prune");
    },
  );

  it(
    "is reported if all segments were removed while no node ran, because something names them",
    { tags: "rest/slow" },
    async () => {
      const a = await backingUp("a");
      await trimmed(a);
      await scene.stop(a);
      for (const file of await filesOfBackup()) if (file.endsWith(".segment")) await rm(file);
      const b = await backingUp("b");
      await vi.waitFor(async () => expect(await damages(b)).toHaveLength(1), 10_000);
    },
  );
});

describe("a backup that begins after the log", () => {
  it("is complete if it was switched on after the log had been trimmed", { tags: "rest/slow" }, async () => {
    const alone = await scene.ready("a");
    const last = await put(alone, 0, 5, "x");
    expect(await alone.checkpoint().done).toHaveProperty("checkpoint");
    await trim(last);
    await scene.stop(alone);
    const node = await backingUp("a");
    await backedUp(node, last);
    // The first look listed the backup before it recorded the beginning, which the next one must know.
    const { lastLookAt } = (await node.status()).logBackup ?? {};
    await vi.waitFor(async () => expect((await node.status()).logBackup?.lastLookAt).not.toBe(lastLookAt));
    expect(await damages(node)).toEqual([]);
    await backedUp(node, await put(node, 5, 10, "y"));
    const other = await backingUp("b");
    await backedUp(node, await put(other, 10, 15, "z"));
    await vi.waitFor(async () => expect((await other.status()).logBackup?.covered).toHaveLength(1), 10_000);
    for (const one of [node, other]) expect(await damages(one)).toEqual([]);
    expect(await done(scene, "log", "backup", "verify")).toContain("it begins where a .begin file records");
  });

  it("is complete if it is that of a log which continues another one", { tags: "rest/slow" }, async () => {
    const before = await backingUp("a");
    await trimmed(before);
    await scene.stop(before);
    await scene.loseLog();
    await done(scene, "log", "recover");
    const node = await backingUp("a");
    await backedUp(node, await put(node, 20, 25, "after"));
    expect(await damages(node)).toEqual([]);
    await done(scene, "log", "backup", "verify");
  });
});
