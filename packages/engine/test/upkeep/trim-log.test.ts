// @module-tag nats
import { readdir, readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { parseCheckpointName, readVerification } from "@cairn/checkpoint";
import { CairnError } from "@cairn/kv";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import type { TxLog } from "../../src/log/tx-log.ts";
import { isTooYoungToTrim, planTrim, trimLog } from "../../src/upkeep/plan-trim.ts";
import { FaultyTxLog } from "../../testing/faulty-tx-log.ts";
import {
  put,
  type TrimScene,
  trimOptions,
  trimScene,
  twoCheckpoints,
} from "@cairn/test-support/nodes/trim-scene";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";

async function open(scene: TrimScene): Promise<TxLog> {
  const log = await scene.openLog();
  onTestFinished(() => log.close());
  return log;
}

async function damage(scene: TrimScene, name: string): Promise<void> {
  const file = path.join(scene.folder, "checkpoints", `${name}.tar`);
  const bytes = await readFile(file);
  bytes[600] = (bytes[600] ?? 0) ^ 1;
  await writeFile(file, bytes);
}

describe.each(["embedded", "nats"] as const)("a trimmed log (%s)", (kind) => {
  it(
    "is trimmed up to the oldest verified checkpoint, whose last message is kept, and nodes can still join",
    { tags: "rest/slow" },
    async () => {
      const scene = await trimScene(kind);
      const [older] = await twoCheckpoints(scene);
      await scene.verify(older);
      const log = await scene.openLog();
      const plan = await trimLog(trimOptions(scene, log));
      expect(plan).toMatchObject({ first: 1, last: 31, upTo: 11, checkpoint: { name: older, txId: 11 } });
      expect(await log.bounds()).toEqual({ first: 11, last: 31 });
      expect(await planTrim(trimOptions(scene, log))).toMatchObject({ first: 11, upTo: 11 });
      await log.close();

      const joined = await scene.start("joined");
      await joined.ready;
      await put(joined, 30, 32);
      const digest = await joined.digest();
      expect(digest.txId).toBe(33);
      expect((await joined.status()).join.restoredFrom).toMatchObject({ txId: 21 });
      await joined.close();
      // The existing node continues with its own index.
      const first = await scene.start("first");
      await first.ready;
      expect(await first.digest()).toEqual(digest);
      expect((await first.status()).join).toMatchObject({ restoredFrom: null, movedAside: [] });
    },
  );

  it(
    "can be joined from the checkpoint up to which it was trimmed if the newest one is damaged",
    { tags: "rest/slow" },
    async () => {
      const scene = await trimScene(kind);
      const [older, newer] = await twoCheckpoints(scene);
      await scene.verify(older);
      const log = await scene.openLog();
      await trimLog(trimOptions(scene, log));
      await log.close();
      await damage(scene, newer);
      const joined = await scene.start("joined");
      await joined.ready;
      const { join, index } = await joined.status();
      expect(join).toMatchObject({ restoredFrom: { name: older }, replayed: 20 });
      expect(index).toMatchObject({ txId: 31, documents: 30 });
    },
  );

  it(
    "reports which transactions are missing and where they were last if no checkpoint is usable",
    { tags: "rest/slow" },
    async () => {
      const scene = await trimScene(kind);
      const [older, newer] = await twoCheckpoints(scene);
      await scene.verify(older);
      const log = await scene.openLog();
      await trimLog(trimOptions(scene, log));
      await log.close();
      await damage(scene, newer);
      await rm(path.join(scene.folder, "checkpoints", `${older}.tar`));
      const joining = await scene.start("joining");
      await vi.waitFor(() => expect(joining.phase).toBe("failed"), { timeout: 30_000 });
      const { failure, join } = await joining.status();
      expect(failure?.code).toBe("LOG_TRIMMED");
      expect(failure?.message).toContain("no longer holds the messages before its message 11");
      expect(failure?.message).toContain(
        `Transactions up to 21 were last in ${newer} of ${scene.store.location}`,
      );
      expect(join.skipped).toMatchObject([{ code: "CHECKPOINT_CORRUPT" }, { code: "CHECKPOINT_INCOMPLETE" }]);
    },
  );

  it(
    "causes an error that lists the searched stores if no checkpoint was found, because an unmounted folder looks like a new one",
    { tags: "rest/slow" },
    async () => {
      const scene = await trimScene(kind);
      const [older] = await twoCheckpoints(scene);
      await scene.verify(older);
      const log = await scene.openLog();
      await trimLog(trimOptions(scene, log));
      await log.close();
      const store = path.join(scene.folder, "checkpoints");
      for (const name of await readdir(store)) await rm(path.join(store, name), { recursive: true });
      const joining = await scene.start("joining");
      await vi.waitFor(() => expect(joining.phase).toBe("failed"), { timeout: 30_000 });
      expect((await joining.status()).failure).toMatchObject({
        code: "LOG_TRIMMED",
        hint: expect.stringContaining(`No checkpoint of this log was found in ${scene.store.location}: `),
      });
    },
  );

  it(
    "is trimmed by a node that verifies its checkpoints, and the node reports the verification and the trimming",
    { tags: "rest/slow" },
    async () => {
      const scene = await trimScene(kind);
      const node = await scene.start("node", { verifyEvery: 200, trim: { keep: 1 } });
      await node.ready;
      await put(node, 0, 20);
      await saveCheckpoint(node);
      await put(node, 20, 22);
      await expect
        .poll(async () => (await node.status()).log.firstTxId, { timeout: 30_000, interval: 100 })
        .toBe(21);
      const { checkpoints, index } = await node.status();
      expect(checkpoints.lastVerified).toMatchObject({ txId: 21, node: "node" });
      expect(index).toMatchObject({ txId: 23, documents: 22 });
      await node.close();
      expect(await readdir(path.join(scene.folder, "node-index", "staging"))).toEqual([]);
    },
  );
});

describe("a node that keeps messages for an hour, and looks after an hour whether to trim the log,", () => {
  const MINUTE = 60_000;
  it.each([
    [120, 0, true],
    [89, 0, false],
    [120, 60, false],
    [120, 59, true],
    [-60, -180, true],
  ])("with messages of %i to %i minutes ago, asks stores: %s", async (oldest, newest, asks) => {
    const at = [oldest, newest].map((minutes) => Date.now() - minutes * MINUTE);
    const log: Parameters<typeof isTooYoungToTrim>[0] = {
      bounds: async () => ({ first: 1, last: 2 }),
      fetch: async (position) => ({ position, time: at[position - 1] ?? 0, payload: Buffer.alloc(0) }),
    };
    expect(await isTooYoungToTrim(log, 60 * MINUTE, 30 * MINUTE)).toBe(!asks);
  });
});

describe("the part of a log that may be trimmed", () => {
  it.each([
    ["no store is declared as shared", "shared-store", false],
    ["no checkpoint is verified", "2 not verified", true],
  ] as const)("is nothing while %s", async (_, because, shared) => {
    const scene = await trimScene("embedded", shared);
    const names = await twoCheckpoints(scene);
    if (!shared) for (const name of names) await scene.verify(name);
    const plan = await trimLog(trimOptions(scene, await open(scene)));
    expect(plan).toMatchObject({ first: 1, upTo: 1, checkpoint: null });
    expect(plan.because).toContain(because);
  });

  it("is nothing without a checkpoint", async () => {
    const scene = await trimScene("embedded");
    const node = await scene.start("node");
    await node.ready;
    await put(node, 0, 3);
    await node.close();
    const log = await open(scene);
    expect((await planTrim(trimOptions(scene, log))).because).toContain("no checkpoint of this log yet");
    expect((await planTrim({ ...trimOptions(scene, log), stores: [] })).because).toContain(
      "No checkpointer is configured",
    );
  });

  it("does not depend on marks of other manifests, or on checkpoints of other versions", async () => {
    const scene = await trimScene("embedded");
    const [older, newer] = await twoCheckpoints(scene);
    await scene.verify(older);
    await scene.verify(newer);
    const mark = path.join(scene.folder, "checkpoints", `${older}.verified.json`);
    await writeFile(mark, (await readFile(mark, "utf8")).replace(/"manifest": "./, '"manifest": "'));
    const log = await open(scene);
    expect(await planTrim(trimOptions(scene, log))).toMatchObject({ upTo: 21, checkpoint: { name: newer } });
    const others = { ...trimOptions(scene, log), kvFormat: "leveldb/2" };
    expect(await planTrim(others)).toMatchObject({
      upTo: 1,
      because: expect.stringContaining("2 of another version"),
    });
  });

  it("does not depend on checkpoints that do not agree with the log", async () => {
    const scene = await trimScene("embedded");
    const [older, newer] = await twoCheckpoints(scene);
    await scene.verify(older);
    await scene.verify(newer);
    const log = new FaultyTxLog(await open(scene));
    log.faults.replace = (message) =>
      message.position === 11 ? { ...message, payload: Buffer.from("another") } : message;
    expect(await planTrim(trimOptions(scene, trimmable(log)))).toMatchObject({ upTo: 21 });
  });

  it("ends before messages that are recent enough to be kept", async () => {
    const scene = await trimScene("embedded");
    const [, newer] = await twoCheckpoints(scene);
    await scene.verify(newer);
    const log = new FaultyTxLog(await open(scene));
    // The checkpoint's last message is an exception, because its time also identifies it.
    const anchor = parseCheckpointName(newer)?.txId;
    log.faults.replace = (message) =>
      message.position === anchor ? message : { ...message, time: message.position * 1_000 };
    const options = { ...trimOptions(scene, trimmable(log)), now: () => 1e12 };
    for (const [keep, upTo] of [
      [15_000, 17],
      [31_000, 1],
      [10_000, 21],
      [1, 21],
    ] as const) {
      expect(await planTrim({ ...options, keep })).toMatchObject({ upTo });
    }
    // The log's clock is ahead of this machine's clock, and the earlier of the two counts.
    expect(await planTrim({ ...options, keep: 5_000, now: () => 10_000 })).toMatchObject({ upTo: 6 });
    expect((await planTrim({ ...options, keep: 15_000 })).because).toContain("younger than PT15S");
  });

  it("is nothing if the log's id would be lost with its first message", async () => {
    const scene = await trimScene("embedded");
    const [older] = await twoCheckpoints(scene);
    await scene.verify(older);
    const log = trimmable(new FaultyTxLog(await open(scene)));
    vi.spyOn(log, "id").mockResolvedValue(undefined);
    expect(await planTrim(trimOptions(scene, log))).toMatchObject({
      upTo: 1,
      because: expect.stringContaining("id"),
    });
  });

  it("cannot be determined if a store does not respond, and nothing is trimmed", async () => {
    const scene = await trimScene("embedded");
    const [older] = await twoCheckpoints(scene);
    await scene.verify(older);
    const log = await open(scene);
    const gone = new CairnError("STORE_UNREACHABLE", "The store does not answer.");
    const mute = { ...scene.store, location: "mute", list: () => Promise.reject(gone) };
    await expect(trimLog({ ...trimOptions(scene, log), stores: [scene.store, mute] })).rejects.toBe(gone);
    expect(await log.bounds()).toMatchObject({ first: 1 });
  });

  it("cannot be determined for a missing log, or for one that cannot be trimmed", async () => {
    const scene = await trimScene("embedded");
    const log = await open(scene);
    await expect(planTrim(trimOptions(scene, log))).rejects.toMatchObject({ code: "NOT_FOUND" });
    const untrimmable = new FaultyTxLog(log);
    await expect(planTrim(trimOptions(scene, untrimmable))).rejects.toMatchObject({ code: "CONFIG_INVALID" });
  });
});

describe("the verification of a checkpoint", () => {
  it("marks it with the digest that the node had", async () => {
    const scene = await trimScene("embedded");
    const node = await scene.start("node");
    await node.ready;
    await put(node, 0, 5);
    await saveCheckpoint(node);
    const { digest } = await node.digest();
    const [name = ""] = await scene.checkpoints();
    const { manifest, verification } = await scene.verify(name);
    expect(verification).toMatchObject({ digest, node: "verifier" });
    expect(await readVerification(scene.store, name, manifest)).toEqual(verification);
    expect(await readdir(path.join(scene.folder, "staging"))).toEqual([]);
    expect(await readdir(path.join(scene.folder, "checkpoints", "reservations"))).toEqual([]);
  });

  it("reports a damaged checkpoint as an error, and leaves neither a mark nor files", async () => {
    const scene = await trimScene("embedded");
    const [older, newer] = await twoCheckpoints(scene);
    await damage(scene, newer);
    await expect(scene.verify(newer)).rejects.toMatchObject({ code: "CHECKPOINT_CORRUPT" });
    await rm(path.join(scene.folder, "checkpoints", `${older}.tar`));
    await expect(scene.verify(older)).rejects.toMatchObject({ code: "CHECKPOINT_INCOMPLETE" });
    await expect(scene.verify("checkpoint-7-2026-11-20T06-00-00.000Z-1f3a9c0e")).rejects.toMatchObject({
      code: "CHECKPOINT_NOT_FOUND",
    });
    expect((await readdir(path.join(scene.folder, "checkpoints"))).join()).not.toContain("verified");
    expect(await readdir(path.join(scene.folder, "staging"))).toEqual([]);
  });
});

/** Returns a faulty log that passes on everything except trimming. */
function trimmable(log: FaultyTxLog): FaultyTxLog & { trim(): Promise<void> } {
  return Object.assign(log, { trim: () => Promise.resolve() });
}
