// @module-tag nats
import { readdir, readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { filesystemStore } from "@cairn/checkpoint";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { backupFolder, listBackup, listBackups } from "../../src/backup/segments/segment-name.ts";
import type { LogMessage } from "../../src/log/tx-log.ts";
import { ClusterScene, put } from "@cairn/test-support/nodes/cluster-scene";
import { BACKED_UP, backedUp, done, foldOf, messagesOf } from "@cairn/test-support/nodes/recovery-scene";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";

describe("a log that continues other logs with backups", () => {
  let scene: ClusterScene;
  beforeEach(async () => {
    scene = await ClusterScene.open();
  });
  afterEach(() => scene.close());

  /**
   * Makes a node write 20 transactions to a log, and deletes the log once they are in its backup. Returns the log's
   * messages.
   */
  async function generation(value: string, checkpointAfter?: number): Promise<LogMessage[]> {
    const a = await scene.ready("a", { parts: BACKED_UP });
    const middle = checkpointAfter ?? 10;
    await put(a, 0, middle, value);
    if (checkpointAfter !== undefined) await saveCheckpoint(a);
    const txId = await put(a, middle, 20, value);
    await backedUp(a, txId);
    await scene.stop(a);
    const messages = await messagesOf(scene);
    await scene.loseLog();
    return messages;
  }

  it(
    "is joined from an index or a checkpoint in the middle of an earlier log, and without either",
    { tags: "rest/slow" },
    async () => {
      const early = await scene.ready("early");
      const start = await put(early, 0, 5, "early");
      await scene.stop(early);
      const first = await generation("one", 8);
      expect(await done(scene, "log", "recover")).toContain(`continues after transaction ${first.length} `);
      const second = await generation("two");
      await done(scene, "log", "recover");
      const third = await scene.ready("a", { parts: BACKED_UP });
      await put(third, 0, 3, "three");
      const expected = foldOf([...first, ...second, ...(await messagesOf(scene))]);
      expect(expected.txId).toBe(first.length + second.length + 1 + 3);
      expect(await third.digest()).toEqual(expected);

      // Its index ends within the first log.
      const again = await scene.ready("early");
      await again.await(expected.txId);
      expect(await again.digest()).toEqual(expected);
      expect((await again.status()).join).toMatchObject({
        restoredFrom: null,
        movedAside: [],
        replayed: expected.txId - start,
      });
      const joined = await scene.ready("joined");
      expect((await joined.status()).join).toMatchObject({
        // It was saved where the third log begins.
        restoredFrom: { txId: first.length + second.length },
        skipped: [],
      });
      expect(await joined.digest()).toEqual(expected);

      for (const name of await readdir(path.join(scene.folder, "checkpoints"))) {
        if (name.startsWith("checkpoint-")) await rm(path.join(scene.folder, "checkpoints", name));
      }
      const empty = await scene.ready("empty");
      expect((await empty.status()).join).toMatchObject({ restoredFrom: null, replayed: expected.txId });
      expect(await empty.digest()).toEqual(expected);
    },
  );

  it(
    "loses its old segments, those of the first log first, once two verified checkpoints cover them",
    { tags: "rest/slow" },
    async () => {
      const store = filesystemStore({ path: path.join(scene.folder, "checkpoints") });
      await generation("one");
      const [first = ""] = await listBackups(store);
      await done(scene, "log", "recover");
      await generation("two");
      await done(scene, "log", "recover");
      const logBackup = { ...BACKED_UP.logBackup, keep: 1_000 };
      const removals: (readonly string[])[] = [];
      const third = await scene.ready("a", {
        parts: { logBackup },
        onEvent: (event) => {
          if (event.work === "backup" && event.stage === "ended") removals.push(event.removed);
        },
      });
      const id = (await third.status()).log.id ?? "";
      const foldersOfEarlier = (): string[] =>
        removals
          .flat()
          .filter((name) => !name.startsWith(backupFolder(id)))
          .map((name) => name.slice(0, name.indexOf("/") + 1));
      // The checkpoints at the two seams need the segments until the third log has two verified ones of its own.
      for (const from of [0, 3]) {
        await put(third, from, from + 3, "three");
        await saveCheckpoint(third);
        await done(scene, "checkpoint", "verify", "checkpoints");
      }
      await vi.waitFor(
        async () => {
          await put(third, 3, 4, "three");
          expect(await listBackups(store)).toEqual([id]);
          expect(new Set(foldersOfEarlier()).size).toBe(2);
        },
        { timeout: 20_000 },
      );
      const folders = foldersOfEarlier();
      expect(folders.lastIndexOf(backupFolder(first))).toBeLessThan(
        folders.findIndex((folder) => folder !== backupFolder(first)),
      );
      await store.close();
    },
  );

  it(
    "makes a node move aside an index beyond the point where the first log was continued, and report its orphans",
    { tags: "rest/slow" },
    async () => {
      const a = await scene.ready("a", { parts: BACKED_UP });
      const last = await put(a, 0, 10, "one");
      await backedUp(a, last);
      await scene.stop(a);
      await scene.copyIndex("a", "beyond");
      await scene.loseLog();
      await done(scene, "log", "recover", "--at-tx", `${last - 3}`, "--yes");
      const second = await scene.ready("a", { parts: BACKED_UP });
      await backedUp(second, await put(second, 20, 30, "two"));
      await scene.stop(second);
      await scene.loseLog();
      await done(scene, "log", "recover");
      const third = await scene.ready("a");
      const digest = await third.digest();
      const beyond = await scene.ready("beyond");
      expect((await beyond.status()).join).toMatchObject({
        movedAside: [{ code: "LOG_REGRESSED" }],
        orphans: 3,
      });
      expect(await beyond.digest()).toEqual(digest);
      expect(await beyond.get({ bucket: "things", namespace: "default", name: "k9" })).toBeUndefined();
    },
  );

  it(
    "makes a node move aside an index with a different history of an earlier log, even if the index ends before the backup",
    { tags: "rest/slow" },
    async () => {
      const a = await scene.ready("a");
      await put(a, 0, 3, "common");
      await scene.stop(a);
      await scene.copyLog();
      const fork = await scene.ready("fork");
      const parted = await put(fork, 3, 6, "fork");
      await scene.stop(fork);
      await scene.rollBackLog();
      const again = await scene.ready("a", { parts: BACKED_UP });
      const last = await put(again, 3, 12, "true");
      expect(last).toBeGreaterThan(parted);
      await backedUp(again, last);
      await scene.stop(again);
      await scene.loseLog();
      await done(scene, "log", "recover");
      const third = await scene.ready("a");
      const joined = await scene.ready("fork");
      expect((await joined.status()).join).toMatchObject({ movedAside: [{ code: "LOG_REGRESSED" }] });
      expect(await joined.digest()).toEqual(await third.digest());
      expect(await joined.get({ bucket: "things", namespace: "default", name: "k4" })).toMatchObject({
        json: '"true"',
      });
    },
  );

  it(
    "is joined from a checkpoint beyond a damaged segment by a node whose index ends before that segment",
    { tags: "rest/slow" },
    async () => {
      const a = await scene.ready("a", { parts: BACKED_UP });
      const early = await scene.ready("early");
      const start = await put(a, 0, 5, "x");
      await early.await(start);
      await scene.stop(early);
      const damaged = await put(a, 5, 10, "y");
      await backedUp(a, damaged);
      const saved = await put(a, 10, 12, "y");
      await saveCheckpoint(a);
      const last = await put(a, 12, 15, "z");
      await backedUp(a, last);
      await scene.stop(a);
      await scene.loseLog();
      await done(scene, "log", "recover");
      const store = filesystemStore({ path: path.join(scene.folder, "checkpoints") });
      const [logId = ""] = await listBackups(store);
      const { segments } = await listBackup(store, logId);
      for (const { name, first, last: end } of segments) {
        if (first > damaged || end < start + 1) continue;
        expect(end).toBeLessThan(saved);
        const file = path.join(scene.folder, "checkpoints", name);
        const content = await readFile(file);
        content[content.length - 300] = (content[content.length - 300] ?? 0) ^ 1;
        await writeFile(file, content);
      }
      const again = await scene.ready("early");
      expect((await again.status()).join).toMatchObject({ restoredFrom: { txId: last }, orphans: 0 });
      await put(again, 0, 1, "w");
      expect(await again.get({ bucket: "things", namespace: "default", name: "k14" })).toMatchObject({
        json: '"z"',
      });
    },
  );
});
