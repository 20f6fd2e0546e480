// @module-tag nats
import { mkdir, open, readdir, rm } from "node:fs/promises";
import { hostname } from "node:os";
import path from "node:path";
import { expect, it, onTestFinished, vi } from "vitest";
import { filesystemStore } from "@cairn/checkpoint";
import type { CairnNode } from "@cairn/engine";
import { newestLog, readLineages, successorOf } from "@cairn/engine/src/backup/backup-lineage";
import { listBackups } from "@cairn/engine/src/backup/segments/segment-name";
import { cairn, CapturedTerminal, type CommandResult } from "@cairn/test-support/nodes/captured-terminal";
import { ClusterScene, put } from "@cairn/test-support/nodes/cluster-scene";
import { BACKED_UP, backedUp } from "@cairn/test-support/nodes/recovery-scene";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";

async function opened(): Promise<ClusterScene> {
  const scene = await ClusterScene.open();
  onTestFinished(() => scene.close());
  return scene;
}

/** Runs `log recover` with the index of the node `id`. */
async function recover(scene: ClusterScene, id: string, ...args: readonly string[]): Promise<CommandResult> {
  const env = {
    NATS_URL: scene.nats.url,
    CAIRN_NODE_ID: id,
    CAIRN_CHECKPOINT_PATH: path.join(scene.folder, "checkpoints"),
    CAIRN_INDEX_PATH: scene.dbDir(id),
  };
  return await cairn(["log", "recover", ...args], new CapturedTerminal({ cwd: scene.folder, env }));
}

/** Expects that the command asks, and that its dry run says so in the same words. */
async function expectAsked(
  scene: ClusterScene,
  id: string,
  message: RegExp,
  args: readonly string[] = [],
): Promise<void> {
  const refused = await recover(scene, id, ...args);
  expect(refused).toMatchObject({ code: 1, stderr: expect.stringMatching(message) });
  expect(refused.stderr).toMatch(/^CONFLICT: /m);
  const { stdout } = await recover(scene, id, ...args, "--dry-run", "--json");
  const { refusal } = JSON.parse(stdout) as { refusal: { code: string; message: string } | null };
  expect(refusal).toMatchObject({ code: "CONFLICT" });
  expect(refused.stderr).toContain(refusal?.message);
}

async function end(scene: ClusterScene, id: string, node: CairnNode): Promise<void> {
  await scene.stop(node);
  await rm(scene.dbDir(id), { recursive: true });
}

async function expectBegun(
  scene: ClusterScene,
  id: string,
  txId: number,
  ...args: readonly string[]
): Promise<CommandResult> {
  const done = await recover(scene, id, ...args);
  expect(done).toMatchObject({
    code: 0,
    stdout: expect.stringContaining(`continues after transaction ${txId} `),
  });
  return done;
}

/** Continues a log after transaction 6 although a checkpoint holds it up to 11, and returns node b, which follows it. */
async function recoveredEarly(scene: ClusterScene): Promise<CairnNode> {
  const a = await scene.ready("a");
  await put(a, 0, 5, "x");
  const early = await saveCheckpoint(a);
  await put(a, 5, 10, "abandoned");
  await saveCheckpoint(a);
  await end(scene, "a", a);
  await scene.loseLog();
  await expectBegun(scene, "empty", 6, "--from", early, "--yes");
  return await scene.ready("b");
}

it(
  "a node of a log that continued the same one elsewhere is named, although it ends earlier",
  { tags: "rest/slow" },
  async () => {
    const scene = await opened();
    const b = await recoveredEarly(scene);
    const last = await put(b, 20, 22, "acknowledged");
    expect(last).toBeLessThan(11);
    await scene.loseLog();
    await vi.waitFor(() => expect(b.phase).toBe("failed"), { timeout: 30_000 });
    const named =
      /after transaction 11 would lack up to 9 .*: the index of node b \(failed\) holds transactions up to 9 of another history\./;
    await expectAsked(scene, "empty", named);
    const left = await expectBegun(scene, "empty", 11, "--yes");
    expect(left.stdout).toContain(
      "the index of node b (failed) holds transactions up to 9 of another history",
    );
    // Nothing in the store shows the log of its index, which the birth record of the new one names.
    await vi.waitFor(() => expect(b.phase).toBe("ready"), { timeout: 30_000 });
    const { join, index } = await b.status();
    expect(join).toMatchObject({ movedAside: [{ code: "LOG_REGRESSED" }], orphans: last - 6 });
    expect(index.txId).toBe(12);
  },
);

it(
  "a log in use that continues another one is in use, whatever the point",
  { tags: "rest/slow" },
  async () => {
    const scene = await opened();
    const a = await scene.ready("a", { parts: BACKED_UP });
    const last = await put(a, 0, 5, "x");
    await backedUp(a, last);
    await scene.stop(a);
    await scene.loseLog();
    await expectBegun(scene, "a", last);
    await put(await scene.ready("a", { parts: BACKED_UP }), 5, 7, "x");
    const refused = await recover(scene, "empty", "--at-tx", "1");
    expect(refused).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^CONFLICT: .*To replace a working log/s),
    });
    const planned = await recover(scene, "empty", "--at-tx", "1", "--dry-run");
    expect(planned.stderr).toContain("holds only its birth record");
  },
);

it(
  "a log whose successor has no backup is replaced by the log that continues that one",
  { tags: "rest/slow" },
  async () => {
    const scene = await opened();
    const store = filesystemStore({ path: path.join(scene.folder, "checkpoints") });
    const first = await scene.ready("a", { parts: BACKED_UP });
    await backedUp(first, await put(first, 0, 5, "x"));
    await scene.stop(first);
    const [replaced = ""] = await listBackups(store);
    await scene.loseLog();
    await expectBegun(scene, "a", 6);
    const between = await scene.ready("a");
    await put(between, 5, 7, "x");
    await scene.stop(between);
    await scene.loseLog();
    await expectBegun(scene, "a", 9);
    const last = await scene.ready("a", { parts: BACKED_UP });
    await backedUp(last, await put(last, 7, 9, "x"));
    const { id = "" } = (await last.status()).log;
    const lineage = await readLineages([store]);
    expect([...lineage.keys()].toSorted()).toEqual([replaced, id].toSorted());
    expect(newestLog(lineage, store.location)).toBe(id);
    expect(successorOf(lineage, replaced)).toBe(id);
  },
);

/** The index of the node a ends with transaction 10 of a history that the log lost after 6, and the store with `last`. */
async function twoHistories(scene: ClusterScene, last: number): Promise<string> {
  const a = await scene.ready("a");
  await put(a, 0, 5, "kept");
  await scene.copyLog();
  await put(a, 5, 9, "lost");
  await scene.stop(a);
  await scene.rollBackLog();
  const b = await scene.ready("b");
  expect(await put(b, 20, 20 + last - 6, "acknowledged")).toBe(last);
  const name = await saveCheckpoint(b);
  await end(scene, "b", b);
  await scene.loseLog();
  return name;
}

it(
  "the node's own index is named if its history is another one, although the store reaches further",
  { tags: "rest/slow" },
  async () => {
    const scene = await opened();
    await twoHistories(scene, 13);
    const named =
      /after transaction 13 would lack 4 .*: the index in \S+a-index\S* holds transactions up to 10 of another history, which agrees up to transaction 6\./;
    await expectAsked(scene, "a", named);
    await expectBegun(scene, "a", 13, "--yes");
  },
);

it(
  "a checkpoint of another history is named, although the node's own index reaches further",
  { tags: "rest/slow" },
  async () => {
    const scene = await opened();
    const name = await twoHistories(scene, 8);
    const named = new RegExp(
      `after transaction 10 would lack up to 8 .*: checkpoint ${name} in \\S+ holds transactions up to 8 of another history`,
    );
    await expectAsked(scene, "a", named);
    await expectAsked(scene, "a", /would lack 4 .*: the index in/, ["--from", name]);
    await expectBegun(scene, "a", 8, "--from", name, "--yes");
  },
);

it.each(["a", "empty"])(
  "a checkpoint of a history that the log had lost before is not named (the index of %s)",
  { tags: "rest/slow" },
  async (id) => {
    const scene = await opened();
    const a = await scene.ready("a");
    await put(a, 0, 5, "kept");
    await scene.copyLog();
    await put(a, 5, 9, "lost");
    await saveCheckpoint(a);
    await scene.stop(a);
    await scene.rollBackLog();
    const again = await scene.ready("a");
    const last = await put(again, 5, 14, "acknowledged");
    await saveCheckpoint(again);
    await scene.stop(again);
    await scene.loseLog();
    await expectBegun(scene, id, last);
  },
);

it(
  "a log backup of a history that the log had lost before is not named either",
  { tags: "rest/slow" },
  async () => {
    const scene = await opened();
    const a = await scene.ready("a", { parts: BACKED_UP });
    await backedUp(a, await put(a, 0, 5, "kept"));
    await scene.copyLog();
    await backedUp(a, await put(a, 5, 9, "lost"));
    await scene.stop(a);
    await scene.rollBackLog();
    const again = await scene.ready("a", { parts: BACKED_UP });
    const last = await put(again, 5, 14, "acknowledged");
    await scene.stop(again);
    await scene.loseLog();
    await expectBegun(scene, "a", last);
  },
);

it(
  "an index in the folder of another node is named, and continued from as the hint says",
  { tags: "rest/slow" },
  async () => {
    const scene = await opened();
    const [a, b] = [await scene.ready("a"), await scene.ready("b")];
    await a.await(await put(b, 0, 5, "x"));
    await scene.stop(a);
    const last = await put(b, 5, 9, "x");
    await scene.stop(b);
    await scene.loseLog();
    await expectAsked(
      scene,
      "a",
      /would lack 4 .*: \S+b-index of node b holds transactions up to 10\.\n.*--from/,
    );
    // Without an index and a store, the hint names it as well.
    const { stderr } = await recover(scene, "c");
    const [, folder = ""] =
      /^CHECKPOINT_NOT_FOUND: [^]*cairn log recover.* --from (\S+b-index)/.exec(stderr) ?? [];
    await expectBegun(scene, "a", last, "--from", folder);
  },
);

/** Changes a byte in the middle of the newest segment. */
async function damageNewest(scene: ClusterScene): Promise<void> {
  const store = path.join(scene.folder, "checkpoints");
  const names = (await readdir(store, { recursive: true }))
    .filter((name) => name.endsWith(".segment"))
    .toSorted();
  const file = await open(path.join(store, names.at(-1) ?? ""), "r+");
  const { size } = await file.stat();
  await file.write(Buffer.from([0xa5, 0x5a, 0xa5]), 0, 3, Math.floor(size / 2));
  await file.close();
}

it("a damaged segment is passed over where the node's index is enough", { tags: "rest/slow" }, async () => {
  const scene = await opened();
  const a = await scene.ready("a", { parts: BACKED_UP });
  await backedUp(a, await put(a, 0, 3, "x"));
  await backedUp(a, await put(a, 3, 5, "x"));
  await scene.stop(a);
  const again = await scene.ready("a");
  const last = await put(again, 5, 7, "x");
  await scene.stop(again);
  await damageNewest(scene);
  await scene.loseLog();
  const planned = await recover(scene, "a", "--dry-run", "--json");
  expect(JSON.parse(planned.stdout)).toMatchObject({ txId: last, beyond: 0, refusal: null });
  const { stderr } = await expectBegun(scene, "a", last);
  expect(stderr).toMatch(/^notice: .* is passed over: SEGMENT_CORRUPT: /);
});

it.each([true, false])(
  "a damaged segment is passed over for what is before it (a checkpoint: %s), as the dry run does",
  { tags: "rest/slow" },
  async (isCheckpoint) => {
    const scene = await opened();
    const a = await scene.ready("a", { parts: BACKED_UP });
    const early = await put(a, 0, 3, "x");
    await backedUp(a, early);
    const saved = isCheckpoint ? await put(a, 3, 5, "x") : early;
    if (isCheckpoint) await saveCheckpoint(a);
    const last = await put(a, 5, 9, "x");
    await backedUp(a, last);
    await end(scene, "a", a);
    await damageNewest(scene);
    await scene.loseLog();
    const lacking = new RegExp(
      `^notice: a segment of the log backup cannot be used, and is passed over: SEGMENT_CORRUPT[^]*after transaction \\d+ would lack \\d+ .*: the store shows transactions up to ${last}\\.`,
    );
    await expectAsked(scene, "cli", lacking);
    const planned = await recover(scene, "cli", "--dry-run", "--yes", "--json");
    const { txId } = JSON.parse(planned.stdout) as { txId: number };
    expect(txId).toBeGreaterThanOrEqual(saved);
    expect(txId).toBeLessThan(last);
    await expectBegun(scene, "cli", txId, "--yes");
  },
);

it(
  "recognizes the log that it began when it is run again, and removes what a killed run left",
  { tags: "rest/slow" },
  async () => {
    const scene = await opened();
    const a = await scene.ready("a");
    await put(a, 0, 5, "x");
    const name = await saveCheckpoint(a);
    await scene.stop(a);
    await scene.loseLog();
    const [killed, ...others] = [
      `${hostname()}-2147483646`,
      `${hostname()}-${process.ppid}`,
      "another-machine-2147483646",
    ].map((process) => `.cairn-recover-${process}-0a0a0a0a`);
    for (const one of [killed ?? "", ...others]) await mkdir(path.join(scene.folder, one));
    await expectBegun(scene, "a", 6);
    for (const args of [[], ["--dry-run"], ["--from", name]]) {
      const again = await recover(scene, "a", ...args);
      expect(again).toMatchObject({ code: 0, stderr: "" });
      expect(again.stdout).toMatch(
        /^the log .* already continues after transaction 6 of \S+; nothing was changed\n$/,
      );
    }
    const left = await readdir(scene.folder, { recursive: true });
    expect(left.filter((one) => one.includes("recover"))).toEqual(expect.arrayContaining(others));
    expect(left).not.toContain(killed);
  },
);

it.each([
  ["further", 10],
  ["less far", 2],
])(
  "the checkpoints of an end that an earlier recovery left behind do not count, although no backup shows that it did, if the new log reaches %s",
  { tags: "rest/slow" },
  async (_, count) => {
    const scene = await opened();
    const b = await recoveredEarly(scene);
    const last = await put(b, 20, 20 + count, "acknowledged");
    await saveCheckpoint(b);
    await end(scene, "b", b);
    await scene.loseLog();
    await expectBegun(scene, "empty", last);
  },
);
