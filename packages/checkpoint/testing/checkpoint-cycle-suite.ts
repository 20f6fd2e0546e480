import { createHash, randomBytes } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CairnError } from "@cairn/kv";
import { describe, expect, onTestFinished, test } from "vitest";
import {
  type CheckpointSource,
  type CheckpointStore,
  listCheckpoints,
  restoreCheckpoint,
  type RestoreResult,
  takeCheckpoint,
  type TakeOutcome,
} from "../src/index.ts";
import { removeCheckpoint } from "../src/retain/prune.ts";
import { sweepStore } from "../src/retain/sweep.ts";
import { faultyStore, unreachable } from "./faulty-store.ts";

const FORMAT = { index: 1, kv: "test/1" };
const broken = new CairnError("STORE_FULL", "broken!");

/** Tests the operations of nodes on a store, with and without failures: saving, listing, restoring and sweeping. */
export function checkpointCycleSuite(name: string, opened: () => Promise<CheckpointStore>): void {
  describe(`${name} serves nodes`, () => {
    test("two checkpoints are listed newest first, with the content of their manifests, and each is restored byte for byte", async () => {
      const { store, dir, save, restore } = await scene(opened);
      await save(1);
      const second = await save(2);
      const { checkpoints } = await listCheckpoints(store);
      expect(checkpoints.map(({ txId }) => txId)).toEqual([2, 1]);
      expect(checkpoints[1]).toMatchObject({
        txId: 1,
        format: FORMAT,
        node: "node-1",
        documents: 1,
        log: { id: "log-a" },
        takenAt: expect.stringMatching(/Z$/),
      });
      for (const [at, { name: checkpoint, txId }] of checkpoints.entries()) {
        expect((await restore(`${at}`, checkpoint)).restored?.name).toBe(checkpoint);
        expect(await digests(join(dir, `${at}`))).toEqual(digestsAt(txId));
      }
      expect(second).toMatchObject({ outcome: "taken", newest: { manifest: { txId: 2 } } });
    });

    test("an unchanged index is not saved twice, but a changed index is", async () => {
      const { store, save } = await scene(opened);
      expect(await save(1)).toMatchObject({ outcome: "taken" });
      expect(await save(1)).toMatchObject({ outcome: "skipped", reason: "unchanged" });
      expect(await save(2)).toMatchObject({ outcome: "taken" });
      expect((await listCheckpoints(store)).checkpoints).toHaveLength(2);
    });

    test("no node saves another checkpoint while the newest is recent", async () => {
      const { save } = await scene(opened);
      await save(1);
      expect(await save(2, { forced: false })).toMatchObject({ outcome: "skipped", reason: "recent" });
    });

    test("checkpoints in another format are listed, but neither restored nor counted", async () => {
      const { dir, store, save, restore } = await scene(opened);
      await save(1, { format: { index: 0, kv: "test/1" } });
      const { skipped, restored } = await restore("live");
      expect([restored, skipped.map(({ error }) => error.code)]).toEqual([undefined, ["INDEX_VERSION"]]);
      expect(await save(1, { forced: false })).toMatchObject({ outcome: "taken" });
      expect((await listCheckpoints(store)).checkpoints).toHaveLength(2);
      expect(await readdir(dir)).not.toContain("live");
    });

    test("nothing is restored into a directory with files", async () => {
      const { dir, save, restore } = await scene(opened);
      await save(1);
      await mkdir(join(dir, "live"));
      await writeFile(join(dir, "live", "precious"), "x");
      await expect(restore("live")).rejects.toMatchObject({ code: "CONFLICT" });
      expect(await readdir(join(dir, "live"))).toEqual(["precious"]);
    });

    test("a failed restore leaves no directory, and no directory exists before a restore is complete", async () => {
      const { store, dir, save, restore } = await scene(opened);
      await save(1);
      const cut = faultyStore(store, { cutAfter: () => 10_000 });
      await expect(restore("live", undefined, cut)).rejects.toMatchObject({ code: "STORE_UNREACHABLE" });
      expect(await readdir(dir)).not.toContain("live");
      await restore("live", undefined, store, async () => expect(await readdir(dir)).not.toContain("live"));
      expect(await readdir(dir)).toContain("live");
      expect(await readdir(join(dir, "staging"))).toEqual([]);
    });

    test.each(["upload", "create"] as const)(
      "if %s fails during a save, the error is thrown, and the store contains no file of the checkpoint",
      async (method) => {
        const { store, save } = await scene(opened);
        const failing = faultyStore(store, {
          fail: (call) =>
            call.method === method && call.name.startsWith("checkpoint-") ? broken : undefined,
        });
        await expect(save(1, { store: failing })).rejects.toThrow("broken!");
        expect(await store.list("")).toEqual([]);
        expect(await save(1)).toMatchObject({ outcome: "taken" });
      },
    );

    test("removing a checkpoint removes all its files, even if it has no manifest", async () => {
      const { store, save } = await scene(opened);
      await save(1);
      const [first] = (await listCheckpoints(store)).checkpoints;
      await removeCheckpoint(store, first?.name ?? "");
      expect(await store.list("")).toEqual([]);
      await save(2);
      const [second] = (await listCheckpoints(store)).checkpoints;
      await store.remove(`${second?.name}.json`);
      await removeCheckpoint(store, second?.name ?? "");
      expect(await store.list("")).toEqual([]);
    });

    test("if a removal fails halfway, the checkpoint is no longer listed, although its archive remains", async () => {
      const { store, save } = await scene(opened);
      await save(1);
      const [first] = (await listCheckpoints(store)).checkpoints;
      const failing = faultyStore(store, {
        fail: ({ method, name: file }) =>
          method === "remove" && file.endsWith(".tar") ? unreachable() : undefined,
      });
      await expect(removeCheckpoint(failing, first?.name ?? "")).rejects.toMatchObject({
        code: "STORE_UNREACHABLE",
      });
      expect(await listCheckpoints(store)).toEqual({
        checkpoints: [],
        skipped: [],
        incomplete: [first?.name],
      });
      expect((await store.list("")).map((file) => file.name)).toEqual([`${first?.name}.tar`]);
    });

    test("with retain-at-least 2 the store contains two, four and four files after one, two and three checkpoints", async () => {
      const { store, save, sweep } = await scene(opened);
      const counts: number[] = [];
      for (const txId of [1, 2, 3]) {
        await save(txId);
        await sweep();
        counts.push((await store.list("")).length);
      }
      expect(counts).toEqual([2, 4, 4]);
      expect((await listCheckpoints(store)).checkpoints.map(({ txId }) => txId)).toEqual([3, 2]);
    });

    test("names are valid file names on every system, and a copy of the store's files also works", async () => {
      const { store, dir, save, restore } = await scene(opened);
      await save(1);
      for (const { name: file } of await store.list("")) expect(file).toMatch(/^[A-Za-z0-9._-]+$/);
      const copy = await opened();
      for (const { name: file } of await store.list("")) await copy.upload(file, await store.open(file));
      for (const { name: file } of await store.list("")) await store.remove(file);
      expect((await restore("live", undefined, copy)).restored).toBeDefined();
      expect(await digests(join(dir, "live"))).toEqual(digestsAt(1));
    });
  });
}

interface Scene {
  readonly store: CheckpointStore;
  readonly dir: string;
  save(txId: number, change?: SaveChange): Promise<TakeOutcome>;
  restore(
    target: string,
    name?: string,
    from?: CheckpointStore,
    verify?: () => Promise<void>,
  ): Promise<RestoreResult>;
  sweep(): Promise<unknown>;
}

interface SaveChange {
  readonly forced?: boolean;
  readonly format?: typeof FORMAT;
  readonly store?: CheckpointStore;
}

async function scene(opened: () => Promise<CheckpointStore>): Promise<Scene> {
  const store = await opened();
  const dir = await mkdtemp(join(tmpdir(), "cairn-cycle-"));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  return {
    store,
    dir,
    save: (txId, { forced = true, format = FORMAT, store: into = store } = {}) =>
      takeCheckpoint({
        source: sourceAt(txId, format),
        forced,
        options: {
          store: into,
          approxFrequency: 3_600_000,
          checkpointDir: join(dir, "capture"),
          compression: "none",
        },
      }),
    restore: (target, name, from = store, verify) =>
      restoreCheckpoint({
        stores: [from],
        stagingDir: join(dir, "staging"),
        targetDir: join(dir, target),
        node: "node-2",
        retries: 0,
        accept: ({ format }) =>
          Promise.resolve(
            format.index === FORMAT.index || new CairnError("INDEX_VERSION", "It has a different version."),
          ),
        ...(name === undefined ? {} : { name }),
        ...(verify === undefined ? {} : { verify }),
      }),
    sweep: () =>
      sweepStore({ store, source: sourceAt(1, FORMAT), logId: "log-a", policy: { retainAtLeast: 2 } }),
  };
}

const SALT = randomBytes(4).toString("hex");

function filesAt(txId: number): Record<string, Buffer> {
  return {
    CURRENT: Buffer.from(`MANIFEST-${txId}\n`),
    "000001.ldb": Buffer.alloc(100_000, `${SALT} ${txId} `),
  };
}

function sourceAt(txId: number, format: typeof FORMAT): CheckpointSource {
  return {
    node: "node-1",
    version: "test",
    format,
    position: async () => ({ logId: "log-a", txId }),
    async capture(dir) {
      await mkdir(dir);
      for (const [name, content] of Object.entries(filesAt(txId))) await writeFile(join(dir, name), content);
      const anchor = { txId, sha256: "0".repeat(64) };
      const log = { id: "log-a", name: "cairn", offset: 0 };
      const txTime = new Date(txId).toISOString();
      return { format, log, txId, txTime, anchor, chains: [], purged: txId, documents: txId };
    },
  };
}

function digestsAt(txId: number): Record<string, string> {
  return Object.fromEntries(Object.entries(filesAt(txId)).map(([name, content]) => [name, sha256(content)]));
}

async function digests(dir: string): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const name of await readdir(dir)) found[name] = sha256(await readFile(join(dir, name)));
  return found;
}

function sha256(content: Buffer): string {
  return createHash("sha256").update(content).digest("hex");
}
