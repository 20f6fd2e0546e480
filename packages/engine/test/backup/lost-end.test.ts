// @module-tag nats
import { readdir, rename, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { CairnNode } from "../../src/node/node.ts";
import { parseSegmentName } from "../../src/backup/segments/segment-name.ts";
import { NatsOperator } from "@cairn/log-nats/testing";
import { cairn, CapturedTerminal, type CommandResult } from "@cairn/test-support/nodes/captured-terminal";
import { ClusterScene, put } from "@cairn/test-support/nodes/cluster-scene";
import { hurryClock } from "@cairn/test-support/nodes/hurried-clock";
import { BACKED_UP, backedUp, done, run } from "@cairn/test-support/nodes/recovery-scene";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";

const HTTP = { host: "127.0.0.1", port: 0, maxBody: 1_000_000 };
const EVERY_MS = 1_000;
/**
 * The maximum time for which an acknowledged transaction is only in the log: the interval between segments, plus an
 * upload.
 */
const EXPOSED_MS = EVERY_MS * 1.1 + 400;

const key = (name: string) => ({ bucket: "things", namespace: "default", name });

async function ready(node: CairnNode): Promise<void> {
  await vi.waitFor(() => expect(node.phase).toBe("ready"), { timeout: 30_000 });
}

describe("a log with a backup, once the log's end is lost or abandoned,", () => {
  let scene: ClusterScene;
  beforeEach(async () => {
    scene = await ClusterScene.open();
  });
  afterEach(() => scene.close());

  /**
   * Prints the transactions that only the backup contains, loads them as the hint suggests, and returns the printed
   * lines.
   */
  async function loadFromBackup(node: CairnNode, except = "nothing"): Promise<string[]> {
    const printed = await done(scene, "log", "orphans", "--from-backup");
    const lines = printed.trimEnd().split("\n");
    const kept = lines.filter((line) => !line.includes(except));
    await writeFile(path.join(scene.folder, "orphans.ndjson"), `${kept.join("\n")}\n`);
    await done(scene, "load", "orphans.ndjson", "--await", "--url", node.url ?? "");
    return lines;
  }

  /** Prints the transactions that only indexes which the node `id` moved aside contain. */
  async function orphansIn(id: string): Promise<CommandResult> {
    const env = {
      NATS_URL: scene.nats.url,
      CAIRN_CHECKPOINT_PATH: path.join(scene.folder, "checkpoints"),
      CAIRN_INDEX_PATH: scene.dbDir(id),
    };
    return await cairn(["log", "orphans"], new CapturedTerminal({ cwd: scene.folder, env }));
  }

  /** Makes the log lose eight transactions that its backup contains. Returns the last of them. */
  async function loseEnd(): Promise<number> {
    const a = await scene.ready("a", { parts: BACKED_UP });
    await put(a, 0, 5, "kept");
    await scene.stop(a);
    await scene.copyLog();
    const again = await scene.ready("a", { parts: BACKED_UP });
    const last = await put(again, 0, 8, "lost");
    await backedUp(again, last);
    await scene.stop(again);
    await scene.rollBackLog();
    return last;
  }

  it("gets back the transactions that only the backup still contains", { tags: "rest/slow" }, async () => {
    await loseEnd();
    const b = await scene.ready("b", { parts: { http: HTTP } });
    await put(b, 7, 9, "new");
    const mentioned = await run(scene, "log", "orphans");
    // The command has the configuration of a node that never was.
    expect(mentioned).toMatchObject({
      code: 1,
      stdout: "",
      stderr: expect.stringMatching(
        /^NOT_FOUND: There is no index of node \S+ in \S+cli-index, so it is unknown .* has those of other nodes: .*b-index/m,
      ),
    });
    const backup =
      /holds transactions 7 to 14 of a history that the log does not continue: .*[A-Z_]+=\S+ cairn log orphans --from-backup prints those that were not loaded again/;
    expect(mentioned.stderr).toMatch(backup);
    const restore = async (txId: number): Promise<string> => {
      const target = path.join(scene.folder, `as-of-${txId}`);
      const restored = await run(scene, "checkpoint", "restore", "--at-tx", `${txId}`, "-o", target);
      expect(restored.code).toBe(0);
      return restored.stderr;
    };
    expect(await restore(8)).toContain("this index belongs to a history that the log has lost");
    expect(await restore(5)).not.toContain("notice");
    expect(await loadFromBackup(b)).toHaveLength(8);
    expect((await run(scene, "log", "orphans")).stderr).toMatch(backup);
    expect(await done(scene, "log", "orphans", "--from-backup")).toBe("");
    for (const name of ["k0", "k7"]) expect(await b.get(key(name))).toMatchObject({ json: '"lost"' });
    expect(await b.get(key("k8"))).toMatchObject({ json: '"new"' });
  });

  /** Backs up nine transactions, three after three, and moves the segments with the second three away. */
  async function makeHole(
    node: CairnNode,
  ): Promise<{ before: number; hole: number; last: number; files: string[] }> {
    const ends: number[] = [];
    for (const from of [0, 3, 6]) {
      const end = await put(node, from, from + 3, "lost");
      await backedUp(node, end);
      ends.push(end);
    }
    await scene.stop(node);
    const [before = 0, hole = 0, last = 0] = ends;
    const names = await readdir(path.join(scene.folder, "checkpoints"), { recursive: true });
    const files = names.filter((name) => {
      const { first = 0 } = parseSegmentName(name) ?? {};
      return first > before && first <= hole;
    });
    for (const file of files) await moveAway(file);
    return { before, hole, last, files };
  }

  const moveAway = async (file: string): Promise<void> =>
    await rename(path.join(scene.folder, "checkpoints", file), path.join(scene.folder, path.basename(file)));

  it("loses none of the backup beyond a hole, which is named", { tags: "rest/slow" }, async () => {
    const a = await scene.ready("a", { parts: BACKED_UP });
    await put(a, 0, 5, "kept");
    await scene.stop(a);
    await scene.copyLog();
    const { before, hole, last, files } = await makeHole(await scene.ready("a", { parts: BACKED_UP }));
    await scene.rollBackLog();

    const printed = await run(scene, "log", "orphans", "--from-backup");
    expect(printed.stdout.match(/"lost"/g)).toHaveLength(3);
    expect(printed).toMatchObject({
      code: 3,
      stderr: expect.stringMatching(`LOG_GAP: Transactions ${before + 1} to ${last} of .* were not printed`),
    });
    // What the hint says.
    const gap = `Transactions ${before + 1} to ${hole} are missing`;
    expect((await run(scene, "log", "backup", "verify")).stdout).toContain(gap);
    for (const file of files)
      await rename(
        path.join(scene.folder, path.basename(file)),
        path.join(scene.folder, "checkpoints", file),
      );
    expect((await done(scene, "log", "orphans", "--from-backup")).match(/"lost"/g)).toHaveLength(9);
    for (const file of files) await moveAway(file);

    const refused = await run(scene, "log", "backup", "prune", "--lost");
    expect(refused.stderr).toMatch(`lacks transactions ${before + 1} to ${hole}, so`);
    const [, names = ""] = /run the command again: (.*)\.$/m.exec(refused.stderr) ?? [];
    const kept = names.split(", ");
    expect(kept).not.toEqual([""]);
    for (const name of kept) await moveAway(name);
    await done(scene, "log", "backup", "prune", "--lost");
    expect(await done(scene, "log", "backup", "verify")).toContain("is intact: transactions 1 to 6");
  });

  it(
    "is recovered up to a hole in its backup, and not only up to a checkpoint",
    { tags: "rest/slow" },
    async () => {
      const a = await scene.ready("a", { parts: BACKED_UP });
      await put(a, 0, 5, "kept");
      await saveCheckpoint(a);
      const { before } = await makeHole(a);
      await rm(scene.dbDir("a"), { recursive: true });
      await NatsOperator.at(scene.nats.url, async (nats) => await nats.deleteStream());
      expect(await done(scene, "log", "recover", "--yes")).toContain(
        `continues after transaction ${before} of `,
      );
    },
  );

  it.each([
    { place: "a backup", parts: BACKED_UP },
    // Neither the log nor a backup holds the lost messages, but the index with which the node continues shows them.
    { place: "a checkpoint", parts: {} },
  ])(
    "does not pass over other transactions in its place if it was recovered from $place",
    { tags: "rest/slow" },
    async ({ parts }) => {
      const a = await scene.ready("a", { parts });
      await put(a, 0, 5, "kept");
      await scene.stop(a);
      await scene.copyLog();
      const again = await scene.ready("a", { parts });
      const last = await put(again, 5, 13, "lost");
      await saveCheckpoint(again);
      if ("logBackup" in parts) await backedUp(again, last);
      await scene.stop(again);
      await scene.rollBackLog();
      const b = await scene.ready("b");
      await put(b, 5, 7, "instead");
      await scene.stop(b);
      await NatsOperator.at(scene.nats.url, async (nats) => await nats.deleteStream());
      expect(await done(scene, "log", "recover")).toContain(`continues after transaction ${last} of `);
      const moved = await scene.ready("b");
      expect((await moved.status()).join.movedAside).toHaveLength(1);
      expect(await moved.get(key("k12"))).toMatchObject({ json: '"lost"' });
      const { code, stdout, stderr } = await orphansIn("b");
      expect({ code, stderr }).toEqual({
        code: 0,
        stderr: expect.stringContaining("the log lost transactions 7 to 8; printed 2 "),
      });
      expect(stdout.match(/"instead"/g) ?? []).toHaveLength(2);
    },
  );

  it(
    "gets a new backup if the log has lost everything in its present backup",
    { tags: "rest/slow" },
    async () => {
      const a = await scene.ready("a", { parts: BACKED_UP });
      await backedUp(a, await put(a, 0, 3, "kept"));
      await scene.stop(a);
      await scene.copyLog();
      const again = await scene.ready("a", { parts: { ...BACKED_UP, http: HTTP } });
      await backedUp(again, await put(again, 3, 8, "lost"));
      for (const command of ["create", "verify"])
        await done(scene, "checkpoint", command, "--url", again.url ?? "");
      await scene.stop(again);
      await done(scene, "log", "backup", "prune", "--through", "4");
      await scene.rollBackLog();
      const refused = await run(scene, "log", "backup", "prune", "--lost");
      expect(refused.stderr).toMatch(
        /^CONFLICT: .* holds messages 1 to 4, has none in common with its backup/,
      );
      const [, folder = ""] = /move the folder (log-\S+\/) out of the store/.exec(refused.stderr) ?? [];
      const printed = await done(scene, "log", "orphans", "--from-backup");
      await writeFile(path.join(scene.folder, "lost.ndjson"), printed);
      await rename(path.join(scene.folder, "checkpoints", folder), path.join(scene.folder, "moved"));
      const b = await scene.ready("b", { parts: { ...BACKED_UP, http: HTTP } });
      await done(scene, "load", "lost.ndjson", "--await", "--url", b.url ?? "");
      for (const name of ["k0", "k7"]) expect(await b.get(key(name))).toBeDefined();
      await backedUp(b, 9);
      await done(scene, "checkpoint", "create", "--url", b.url ?? "");
      await done(scene, "checkpoint", "prune", "--lost");
      expect(await done(scene, "log", "backup", "verify")).toContain("is intact: transactions 1 to 9");
    },
  );

  it(
    "gets a new backup if it was trimmed beyond the last message that it has in common with its backup",
    { tags: "rest/slow" },
    async () => {
      const last = await loseEnd();
      await rm(scene.dbDir("a"), { recursive: true });
      const parts = { ...BACKED_UP, http: HTTP };
      const b = await scene.ready("b", { parts });
      const end = await put(b, 100, 104, "instead");
      await done(scene, "checkpoint", "create", "--url", b.url ?? "");
      await NatsOperator.at(scene.nats.url, async (nats) => await nats.purgeBefore(end));
      await put(b, 104, 114, "instead");
      await vi.waitFor(async () => {
        expect((await b.status()).logBackup?.lastFailure?.code).toBe("LOG_REGRESSED");
      });
      // Nothing is built from both histories.
      const c = await scene.ready("c", { parts: { http: HTTP } });
      expect(await c.digest()).toEqual(await b.digest());
      const printed = await run(scene, "log", "orphans", "--from-backup");
      expect(printed.code).toBe(0);
      expect(printed.stdout.match(/"lost"/g)).toHaveLength(last - end + 1);
      expect(printed.stderr).toContain(
        `up to ${end - 1}, so it is unknown whether the log's history contains all`,
      );
      await writeFile(path.join(scene.folder, "lost.ndjson"), printed.stdout);
      const refused = await run(scene, "log", "backup", "prune", "--lost");
      expect(refused.stderr).toMatch(/^CONFLICT: .* has none in common with its backup/);
      const [, folder = ""] = /move the folder (log-\S+\/) out of the store/.exec(refused.stderr) ?? [];
      await rename(path.join(scene.folder, "checkpoints", folder), path.join(scene.folder, "moved"));
      await done(scene, "load", "lost.ndjson", "--await", "--url", b.url ?? "");
      const { txId } = await b.status().then(({ index }) => index);
      await backedUp(b, txId ?? 0);
      expect(await done(scene, "log", "backup", "verify")).toContain(
        `is intact: transactions ${end} to ${txId}`,
      );
    },
  );

  it(
    "continues before a fatal transaction, with running nodes, which continue to write from that point",
    { tags: "rest/slow" },
    async () => {
      hurryClock();
      const parts = { ...BACKED_UP, http: HTTP };
      const [a, b] = [await scene.ready("a", { parts }), await scene.ready("b", { parts })];
      await put(a, 0, 3, "early");
      await saveCheckpoint(a);
      const good = await put(a, 3, 10, "precious");
      const { txId: fatal } = await a.submit({ ops: [["evict", "things", "default/k5"]] });
      const last = await put(b, 10, 14, "since");
      await backedUp(a, last);
      const recover = ["log", "recover", "--at-tx", `${good}`];
      const plan = await run(scene, ...recover, "--dry-run");
      expect(plan.stdout).toMatch(
        new RegExp(`continues after transaction ${good}: from checkpoint-4-.* and 7 transactions from `),
      );
      expect(plan.stdout).toContain(`${last - good} transactions after it are known but not in the new log`);
      expect(plan.code).toBe(0);
      expect(plan.stderr).toMatch(
        /^notice: without --dry-run, this would be refused now: .* already exists.* nats stream rm/m,
      );
      await NatsOperator.at(scene.nats.url, async (nats) => await nats.deleteStream());
      for (const node of [a, b])
        await vi.waitFor(() => expect(node.phase).toBe("failed"), { timeout: 30_000 });
      expect(await done(scene, ...recover, "--yes")).toContain(`continues after transaction ${good} of `);
      for (const node of [a, b]) {
        await ready(node);
        expect(await node.get(key("k5"))).toMatchObject({ json: '"precious"' });
        expect(await node.get(key("k12"))).toBeUndefined();
        expect((await node.status()).join).toMatchObject({
          movedAside: [{ code: "LOG_REGRESSED" }],
          orphans: last - good,
        });
      }
      // The birth record has the id of the fatal transaction.
      expect(await put(b, 20, 21, "after")).toBe(fatal + 1);
      await a.await(fatal + 1);
      expect(await a.digest()).toEqual(await b.digest());
      expect(await loadFromBackup(a, '"evict"')).toHaveLength(last - good);
      expect(await a.get(key("k5"))).toMatchObject({ json: '"precious"' });
      expect(await a.get(key("k12"))).toMatchObject({ json: '"since"' });
    },
  );

  it(
    "is recovered again at an earlier point, is followed by running nodes, and is recovered once more from that point",
    { tags: "rest/slow" },
    async () => {
      hurryClock();
      const a = await scene.ready("a", { parts: BACKED_UP });
      await put(a, 0, 20, "first");
      const { txId: end } = await a.digest();
      await backedUp(a, end);
      await scene.loseLog();
      await done(scene, "log", "recover");
      await vi.waitFor(() => a.await(end + 1), { timeout: 30_000 });
      await put(a, 20, 30, "second");
      const second = (await a.digest()).txId;
      await backedUp(a, second);

      // This point is before the first recovery, so the second log is not part of the third one's history.
      await scene.loseLog();
      await done(scene, "log", "recover", "--at-tx", "10", "--yes");
      await vi.waitFor(async () => expect((await a.status()).log.lastTxId).toBe(11), { timeout: 40_000 });
      await vi.waitFor(() => expect(a.phase).toBe("ready"), { timeout: 40_000 });
      expect((await a.status()).join.movedAside).toMatchObject([{ code: "LOG_REGRESSED" }]);
      await put(a, 40, 45, "third");
      const third = await a.digest();
      await backedUp(a, third.txId);

      // The end of the first log and all of the second are no longer in any log; each transaction is printed once.
      const printed = await run(scene, "log", "orphans", "--from-backup");
      const lines = printed.stdout.trimEnd().split("\n");
      expect(lines.filter((line) => line.includes('"first"'))).toHaveLength(end - 10);
      expect(lines.filter((line) => line.includes('"second"'))).toHaveLength(10);
      expect(new Set(lines).size).toBe(end);
      expect(printed.stderr).toContain(`the log lost transactions 11 to ${second};`);
      // The backup of the first log holds what all of them share.
      expect(printed.stderr).not.toContain("unknown");
      // The node's own index, which was moved aside, contains the same transactions with the same ids, so loading both
      // outputs applies each transaction once.
      const moved = await orphansIn("a");
      expect(new Set(moved.stdout.trimEnd().split("\n"))).toEqual(new Set(lines));

      await scene.loseLog();
      // The second log has a higher transaction, but the third one was begun last.
      expect(third.txId).toBeLessThan(second);
      const again = await done(scene, "log", "recover");
      expect(again).toContain(`continues after transaction ${third.txId} of`);
      await vi.waitFor(() => a.await(third.txId + 1), { timeout: 40_000 });
      const b = await scene.ready("b");
      await b.await(third.txId + 1);
      expect((await b.status()).index.documents).toBe((await a.status()).index.documents);
      expect(await b.get({ bucket: "things", namespace: "default", name: "k41" })).toBeDefined();
      expect(await b.get({ bucket: "things", namespace: "default", name: "k25" })).toBeUndefined();
    },
  );

  it(
    "is continued by following all hints, by a running node and by an empty one",
    { tags: "rest/slow" },
    async () => {
      hurryClock();
      const a = await scene.ready("a", { parts: BACKED_UP });
      await put(a, 0, 3, "x");
      await saveCheckpoint(a);
      const last = await put(a, 3, 6, "x");
      await backedUp(a, last);
      await NatsOperator.at(scene.nats.url, async (nats) => await nats.deleteStream());
      await vi.waitFor(() => expect(a.phase).toBe("failed"), { timeout: 30_000 });
      const b = await scene.start("b");
      await vi.waitFor(() => expect(b.phase).toBe("failed"), { timeout: 30_000 });
      for (const node of [a, b]) {
        const { failure } = await node.status();
        expect(failure?.hint).toContain(
          `run cairn log recover, which begins one that continues after transaction ${last};`,
        );
      }
      for (const command of ["status", "create", "orphans"]) {
        expect(await run(scene, "log", command)).toMatchObject({
          code: 1,
          stderr: expect.stringContaining(
            `cairn log recover, which begins one that continues after transaction ${last};`,
          ),
        });
      }
      expect(await done(scene, "log", "recover", "--dry-run")).toContain(
        `after transaction ${last}: from checkpoint-4-`,
      );
      await done(scene, "log", "recover");
      for (const node of [a, b]) {
        await ready(node);
        expect(await node.get(key("k5"))).toMatchObject({ json: '"x"' });
      }
      expect((await a.status()).join).toMatchObject({ movedAside: [], orphans: 0 });
      const back = await run(scene, "log", "recover", "--at-tx", `${last - 1}`, "--dry-run");
      expect(back.stdout).toContain(`after transaction ${last - 1}: from checkpoint-4-`);
      const none = await run(scene, "log", "recover", "--at-tx", `${last + 5}`, "--dry-run");
      expect(none).toMatchObject({ code: 1, stderr: expect.stringMatching(/^CHECKPOINT_NOT_FOUND: /) });
    },
  );

  it(
    "keeps every transaction that was acknowledged before the last segment if NATS is permanently lost",
    { tags: "rest/slow" },
    async () => {
      const logBackup = { every: EVERY_MS, keep: "all", codec: "none" } as const;
      const node = await scene.ready("a", { parts: { logBackup } });
      const acknowledged: { readonly name: string; readonly at: number }[] = [];
      let lostAt = Number.POSITIVE_INFINITY;
      const writing = (async () => {
        for (let n = 0; lostAt === Number.POSITIVE_INFINITY; n += 1) {
          const name = `w${n}`;
          try {
            await node.submit({ ops: [["put", "things", `default/${name}`, n]] }, { timeoutMs: 2_000 });
          } catch {
            return;
          }
          acknowledged.push({ name, at: performance.now() });
        }
      })();
      // The server is lost during writes, some segments after the first one.
      await vi.waitFor(
        async () => expect((await node.status()).logBackup?.written.segments).toBeGreaterThanOrEqual(4),
        { timeout: 30_000, interval: 20 },
      );
      lostAt = performance.now();
      await scene.loseLog();
      await writing;
      await scene.stop(node);
      expect(await done(scene, "log", "recover")).toMatch(/continues after transaction \d/);
      const b = await scene.ready("b");
      let lastHeld = 0;
      const missing: string[] = [];
      for (const { name, at } of acknowledged) {
        if ((await b.get(key(name))) !== undefined) lastHeld = at;
        else if (at < lostAt - EXPOSED_MS) missing.push(name);
      }
      expect(missing).toEqual([]);
      expect(lastHeld).toBeGreaterThan(lostAt - EXPOSED_MS);
      expect(acknowledged.length).toBeGreaterThan(100);
    },
  );
});
