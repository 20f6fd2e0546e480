// @module-tag nats
import { CairnClient } from "@cairn/client";
import { faultyStore, type StoreFaults } from "@cairn/checkpoint/testing";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { System } from "../../src/api/system.ts";
import { BackupReader } from "../../src/backup/backup-reader.ts";
import { readLogIdentity } from "../../src/log/log-identity.ts";
import { LogWatch } from "../../src/node/log-watch.ts";
import type { NodeLife } from "../../src/node/node-life.ts";
import type { CairnNode } from "../../src/node/node.ts";
import { cairn, CapturedTerminal } from "@cairn/test-support/nodes/captured-terminal";
import { ClusterScene, put } from "@cairn/test-support/nodes/cluster-scene";
import { NatsOperator } from "@cairn/log-nats/testing";
import { READING, readerParts, watchedStore } from "./reader-scene.ts";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";

const logBackup = { every: 200, keep: "all", codec: "none" } as const;
const SOON = { timeout: 20_000 };

describe("a node that reads its log from a backup", () => {
  let scene: ClusterScene;
  let writer: CairnNode;
  beforeEach(async () => {
    scene = await ClusterScene.open();
    writer = await scene.ready("writer", { parts: { logBackup } });
    await put(writer, 0, 20, "early");
  });
  afterEach(() => scene.close());

  const covered = async (txId: number): Promise<void> => {
    await vi.waitFor(async () => {
      const { logBackup: held } = await writer.status();
      expect(held?.covered?.at(-1)?.last).toBeGreaterThanOrEqual(txId);
    }, SOON);
  };

  it(
    "joins from a checkpoint and follows the segments, and never writes to the store",
    { tags: "rest/slow" },
    async () => {
      await saveCheckpoint(writer);
      await covered((await writer.digest()).txId);
      const { store, calls } = watchedStore(scene);
      const reader = await scene.ready("reader", {
        parts: { ...readerParts(store), policies: { history: { things: { keep: 3 } } } },
      });
      expect((await reader.status()).join).toMatchObject({ restoredFrom: { txId: 21 }, replayed: 0 });
      const watch = reader.watch({ bucket: "things" })[Symbol.asyncIterator]();
      await watch.next();
      const last = await put(writer, 0, 30, "late");
      await reader.await(last, { timeoutMs: 20_000 });
      expect(await reader.digest()).toEqual(await writer.digest());
      expect(await reader.get({ bucket: "things", namespace: "default", name: "k7" })).toMatchObject({
        revision: 29,
      });
      const { value } = await watch.next();
      expect(JSON.stringify(value)).toContain("k0");
      expect((await reader.policies()).revision).toBeNull();
      expect(await reader.checkpoints()).toHaveLength(1);
      expect(calls.filter(({ method }) => !READING.has(method))).toEqual([]);
    },
  );

  it(
    "rejects requests that would append to the log, and names the nodes that accept them",
    { tags: "rest/slow" },
    async () => {
      await covered(21);
      const { store } = watchedStore(scene);
      const reader = await scene.ready("reader", { parts: readerParts(store) });
      const put1 = { method: "PUT", body: "1", headers: { "content-type": "application/json" } };
      const answers = [
        await fetch(`${reader.url}/api/v1/things/default/k1`, put1),
        await fetch(`${reader.url}/api/v1/policies`, { ...put1, body: "{}" }),
        await fetch(`${reader.url}/api/v1/tx`, {
          ...put1,
          method: "POST",
          body: '{"ops":[["put","a","default/b",1]]}',
        }),
      ];
      expect(answers.map(({ status, headers }) => [status, headers.get("allow")])).toEqual([
        [405, "GET, HEAD"],
        [405, "GET, HEAD"],
        [405, ""],
      ]);
      expect(await answers[0]?.json()).toMatchObject({
        error: { code: "LOG_READ_ONLY", hint: expect.stringContaining("access to the log itself") },
      });
      const latest = await fetch(`${reader.url}/api/v1/things/default/k1?linearizable=true`);
      expect([latest.status, latest.headers.get("allow")]).toEqual([421, null]);
      expect(await latest.json()).toMatchObject({
        error: { code: "LOG_READ_ONLY", hint: expect.stringContaining("min-tx") },
      });
      expect((await fetch(`${reader.url}/api/v1/things/default/k1`)).status).toBe(200);
      const terminal = new CapturedTerminal({
        cwd: scene.folder,
        stdin: '{"ops":[["put","a","default/b",1]]}\n',
      });
      const loaded = await cairn(["load", "-", "--url", reader.url ?? ""], terminal);
      expect(loaded.code).not.toBe(0);
      expect(loaded.stderr).toContain("LOG_READ_ONLY");
      expect(await writer.digest()).toEqual(await reader.digest());
    },
  );

  it(
    "never takes a client back in time, whose node with access to the log does not respond",
    { tags: "rest/slow" },
    async () => {
      await covered(21);
      const { store } = watchedStore(scene);
      const reader = await scene.ready("reader", { parts: readerParts(store) });
      await writer.close();
      const http = { host: "127.0.0.1", port: 0, maxBody: 1_000_000 };
      const alone = await scene.ready("alone", { parts: { http } });
      let isAway = false;
      const client = new CairnClient({
        urls: [alone.url ?? "", reader.url ?? ""],
        retryForMs: 500,
        fetch: async (input, init) => {
          if (isAway && String(input).startsWith(alone.url ?? "")) throw new TypeError("fetch failed");
          return await fetch(input, init);
        },
      });
      const { txId } = await client.put("things", "k0", "new");
      isAway = true;
      const reading = async () => await client.get("things", "k0", { timeoutMs: 300 });
      for (let tries = 0; tries < 3; tries += 1)
        await expect(reading()).rejects.toMatchObject({ code: "TX_TIMEOUT" });
      isAway = false;
      await vi.waitFor(async () => expect(await reading()).toMatchObject({ document: "new" }), SOON);
      expect(client.lastTx).toBeGreaterThanOrEqual(txId);
    },
  );

  it(
    "does not serve reads as of a time that its backup may not fully cover yet",
    { tags: "rest/slow" },
    async () => {
      await covered(21);
      const { store } = watchedStore(scene);
      const reader = await scene.ready("reader", { parts: readerParts(store) });
      const { txTime } = (await reader.status()).index;
      const key = { bucket: "things", namespace: "default", name: "k1" };
      const later = new Date(Date.parse(txTime ?? "") + 1).toISOString();
      const earlier = new Date(Date.parse(txTime ?? "") - 1).toISOString();
      await expect(reader.get(key, { asOf: { time: later } })).rejects.toMatchObject({
        code: "LOG_READ_ONLY",
      });
      expect(await reader.get(key, { asOf: { time: later }, stale: true })).toBeDefined();
      expect(await reader.get(key, { asOf: { time: earlier } })).toBeDefined();
    },
  );

  it("reports in its status how old its information is", { tags: "rest/slow" }, async () => {
    await covered(21);
    const { store } = watchedStore(scene);
    const reader = await scene.ready("reader", { parts: readerParts(store) });
    const { log, index } = await reader.status();
    expect(log).toMatchObject({ firstTxId: 1, lastTxId: 21, reachable: true, warnings: [] });
    expect(log.backup?.location).toBe(store.location);
    expect(Date.parse(log.backup?.newestSegmentAt ?? "")).toBeLessThanOrEqual(Date.now() + 5_000);
    expect(log.backup?.ageMs).toBeLessThan(60_000);
    expect(index.lag).toBe(0);
    const shown = await cairn(
      ["status", "--url", reader.url ?? ""],
      new CapturedTerminal({ cwd: scene.folder }),
    );
    expect(shown.stdout).toContain(`the log backup in ${store.location}; its newest segment was written at`);
    expect((await fetch(`${reader.url}/health/ready`)).status).toBe(200);
    expect((await writer.status()).log.backup).toBeNull();
  });

  it("waits for a backup that does not exist yet", async () => {
    await scene.stop(writer);
    const { store } = watchedStore(scene);
    const reader = await scene.start("reader", { parts: readerParts(store, { logId: "of-no-log" }) });
    await vi.waitFor(async () => {
      expect((await reader.status()).failure).toMatchObject({
        code: "LOG_UNREACHABLE",
        hint: expect.stringContaining("log-backup"),
      });
    }, SOON);
  });

  it("stops even if its store does not respond", { tags: "rest/slow" }, async () => {
    await covered(21);
    const { store } = watchedStore(scene);
    const faults: StoreFaults = {};
    const reader = await scene.ready("reader", { parts: readerParts(faultyStore(store, faults)) });
    const hung = new Promise<void>((resolve) => {
      faults.before = () => {
        resolve();
        return new Promise(() => undefined);
      };
    });
    await hung;
    const begun = performance.now();
    await scene.stop(reader);
    expect(performance.now() - begun).toBeLessThan(10_000);
  });

  it(
    "joins again after applied segments were removed because the log lost its end",
    { tags: "rest/slow" },
    async () => {
      await covered(21);
      await scene.stop(writer);
      await scene.copyLog();
      writer = await scene.ready("writer", { parts: { logBackup } });
      await covered(await put(writer, 0, 5, "lost"));
      const { store } = watchedStore(scene);
      const reader = await scene.ready("reader", { parts: readerParts(store) });
      expect((await reader.digest()).txId).toBe(26);
      await scene.stop(writer);
      await scene.rollBackLog();
      for (const { name } of await store.list("log-")) if (/-0*2[2-6]-/.test(name)) await store.remove(name);
      writer = await scene.ready("writer", { place: "writer-2", parts: { logBackup } });
      await covered(await put(writer, 0, 8, "kept"));
      await vi.waitFor(async () => expect(await reader.digest()).toEqual(await writer.digest()), SOON);
      expect((await reader.status()).join.movedAside).toMatchObject([{ code: "LOG_REGRESSED" }]);
    },
  );

  it(
    "continues after its log was trimmed, because the backup has everything",
    { tags: "rest/slow" },
    async () => {
      await covered(21);
      const { store } = watchedStore(scene);
      const reader = await scene.ready("reader", { parts: readerParts(store) });
      await NatsOperator.at(scene.nats.url, (nats) => nats.purgeBefore(15));
      const last = await put(writer, 0, 3, "after");
      await reader.await(last, { timeoutMs: 20_000 });
      expect(await reader.digest()).toEqual(await writer.digest());
    },
  );

  it("is not told that its log has lost what a checkpoint is ahead", { tags: "rest/slow" }, async () => {
    await covered(21);
    await scene.stop(writer);
    const ahead = await scene.ready("ahead");
    await put(ahead, 0, 3, "later");
    await saveCheckpoint(ahead);
    const { store } = watchedStore(scene);
    const log = new BackupReader({ store, every: 50, signal: new AbortController().signal });
    const identity = await readLogIdentity(log);
    expect(identity?.bounds.last).toBe(21);
    const life = { log, identity, index: {}, agrees: true, report: {} };
    const watch = new LogWatch({ restoreFrom: [store] } as unknown as System, life as unknown as NodeLife);
    await watch.look();
    expect(watch.warnings).toEqual([]);
    await log.close();
  });
});
