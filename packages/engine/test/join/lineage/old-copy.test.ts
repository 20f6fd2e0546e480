// @module-tag nats
import { cp, mkdtemp, readdir, readFile, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { filesystemStore } from "@cairn/checkpoint";
import { faultyStore } from "@cairn/checkpoint/testing";
import type { NodeStatus } from "@cairn/client";
import { CairnError } from "@cairn/kv";
import { startNode } from "@cairn/node";
import { cairn, CapturedTerminal, type CommandResult } from "@cairn/test-support/nodes/captured-terminal";
import { ClusterScene, put } from "@cairn/test-support/nodes/cluster-scene";
import { hurryClock } from "@cairn/test-support/nodes/hurried-clock";
import { backedUp, BACKED_UP, done } from "@cairn/test-support/nodes/recovery-scene";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";
import { beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import type { CairnNode } from "../../../src/node/node.ts";

beforeEach(() => hurryClock());

async function failureOf(node: CairnNode): Promise<NonNullable<NodeStatus["failure"]>> {
  await vi.waitFor(() => expect(node.phase).toBe("failed"), { timeout: 30_000 });
  const { failure } = await node.status();
  if (failure === null) throw new Error("there is no failure");
  return failure;
}

const things = (name: string) => ({ bucket: "things", namespace: "default", name });

const isSegment = (name: string): boolean => name.endsWith(".segment");

interface Machine {
  readonly folder: string;
  start(): Promise<CairnNode>;
  run(...args: string[]): Promise<CommandResult>;
}

async function machine(): Promise<Machine> {
  const folder = await mkdtemp(path.join(tmpdir(), "cairn-old-copy-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const env = { CAIRN_NODE_ID: "a", CAIRN_CHECKPOINT_PATH: path.join(folder, "checkpoints") };
  const nodes: CairnNode[] = [];
  onTestFinished(async () => void (await Promise.all(nodes.map((node) => node.close()))));
  const start = async (): Promise<CairnNode> => {
    const http = { host: "127.0.0.1", port: 0 };
    const node = await startNode({ "cairn/http-server": http }, { env, cwd: folder });
    nodes.push(node);
    return node;
  };
  const run = async (...args: string[]): Promise<CommandResult> =>
    await cairn(args, new CapturedTerminal({ cwd: folder, env }));
  return { folder, start, run };
}

/** A machine whose log was lost after three documents, and continued; the copy of before is back on it. */
async function rolledBack(): Promise<Machine & { readonly checkpoint: string; readonly successor: string }> {
  const { folder, start, run } = await machine();
  const data = path.join(folder, "cairn-data");
  const first = await start();
  await first.ready;
  await put(first, 0, 3, "before");
  await first.close();
  await cp(data, path.join(folder, "copy"), { recursive: true });
  await rm(path.join(data, "a-log"), { recursive: true });
  expect(await run("log", "recover")).toMatchObject({ code: 0 });
  const second = await start();
  await second.ready;
  await put(second, 3, 6, "after");
  const checkpoint = await saveCheckpoint(second);
  const successor = (await second.status()).log.id ?? "";
  await second.close();
  await rm(data, { recursive: true });
  await rename(path.join(folder, "copy"), data);
  return { folder, start, run, checkpoint, successor };
}

/** The command that the hint names, whose configuration is that of the command line here. */
function commandIn(hint: string | null): string[] {
  const [, id = ""] = /cairn log recover .*?--log (\S+), and restart the nodes/.exec(hint ?? "") ?? [];
  return ["log", "recover", "--log", id];
}

/** The scene, whose server has the log of before again, and the log that continues it. */
async function returned(
  parts = {},
): Promise<{ readonly scene: ClusterScene; readonly lost: string; readonly successor: string }> {
  const scene = await ClusterScene.open();
  onTestFinished(() => scene.close());
  const a = await scene.ready("a", { parts });
  const lost = (await a.status()).log.id ?? "";
  const last = await put(a, 0, 3, "before");
  if ("logBackup" in parts) await backedUp(a, last);
  await scene.stop(a);
  await scene.copyLog();
  await scene.loseLog();
  await done(scene, "log", "recover", "--from", scene.dbDir("a"));
  const again = await scene.ready("a", { parts });
  // The first segment of its backup has the birth record alone.
  if ("logBackup" in parts) await backedUp(again, last + 1);
  const end = await put(again, 3, 6, "after");
  if ("logBackup" in parts) await backedUp(again, end);
  else await saveCheckpoint(again);
  const successor = (await again.status()).log.id ?? "";
  await scene.stop(again);
  await scene.rollBackLog();
  return { scene, lost, successor };
}

describe("a copy of an embedded node from before its log was lost and continued", () => {
  it("serves nothing and acknowledges nothing, but names the log that continues its log", async () => {
    const { start, run, checkpoint, successor } = await rolledBack();
    const node = await start();
    const failure = await failureOf(node);
    expect(failure).toMatchObject({
      code: "LOG_DIFFERENT",
      message: expect.stringMatching(
        `is an old copy: the log ${successor} continues it, and .*${checkpoint} `,
      ),
    });
    await expect(node.submit({ ops: [["put", "things", "default/x", 1]] })).rejects.toMatchObject({
      code: "NOT_READY",
    });
    await node.close();
    expect((await run("log", "status")).stdout).toMatch(new RegExp(`^Successor +${successor}`, "m"));
  });

  it("continues where the other log ended, as its hint says", async () => {
    const { folder, start, run } = await rolledBack();
    const failed = await start();
    const { hint } = await failureOf(failed);
    await failed.close();
    await rename(path.join(folder, "cairn-data", "a-log"), path.join(folder, "away"));
    expect(await run(...commandIn(hint))).toMatchObject({ code: 0 });
    const node = await start();
    await node.ready;
    expect(await node.get(things("k5"))).toMatchObject({ json: '"after"' });
    expect((await node.status()).join.orphans).toBe(0);
  });

  it(
    "is used with a checkpoint store of its own, and loses nothing of that when the other log is continued",
    { tags: "rest/slow" },
    async () => {
      const { folder, start, run } = await rolledBack();
      const [store, aside] = [path.join(folder, "checkpoints"), path.join(folder, "others")];
      await rename(store, aside);
      const alone = await start();
      await alone.ready;
      expect(await alone.get(things("k2"))).toMatchObject({ json: '"before"' });
      await put(alone, 9, 10, "in the copy");
      await alone.close();
      await rm(store, { recursive: true, force: true });
      await rename(aside, store);
      const failed = await start();
      const { hint } = await failureOf(failed);
      await failed.close();
      await rename(path.join(folder, "cairn-data", "a-log"), path.join(folder, "away"));
      expect(await run(...commandIn(hint))).toMatchObject({
        code: 1,
        stderr: expect.stringMatching(/^CONFLICT: .* would lack (up to )?\d+ transactions? .* --yes/s),
      });
      expect(await run(...commandIn(hint), "--yes")).toMatchObject({ code: 0 });
      const node = await start();
      await node.ready;
      expect(await node.get(things("k5"))).toMatchObject({ json: '"after"' });
      expect((await node.status()).join.orphans).toBe(1);
      await node.close();
      expect((await run("log", "orphans")).stdout).toMatch(/in the copy/);
    },
  );
});

describe("a copy of a log that was lost and continued twice", () => {
  it(
    "is refused with the name of the log of the index, which no store shows yet, and loses nothing",
    { tags: "rest/slow" },
    async () => {
      const { folder, start, run } = await machine();
      const [log, copy] = [path.join(folder, "cairn-data", "a-log"), path.join(folder, "copy")];
      let last = "";
      for (const n of [0, 3, 6]) {
        const node = await start();
        await node.ready;
        await put(node, n, n + 3, "acknowledged");
        if (n < 6) await saveCheckpoint(node);
        last = (await node.status()).log.id ?? "";
        await node.close();
        if (n === 6) break;
        await rename(log, n === 0 ? copy : path.join(folder, "second"));
        expect(await run("log", "recover")).toMatchObject({ code: 0 });
      }
      await rm(log, { recursive: true });
      await rename(copy, log);
      const failed = await start();
      const { message, hint } = await failureOf(failed);
      await failed.close();
      expect(message).toContain(`the log ${last} continues it, and the local index holds`);
      await rm(log, { recursive: true });
      expect(await run(...commandIn(hint))).toMatchObject({ code: 0 });
      const node = await start();
      await node.ready;
      expect(await node.get(things("k8"))).toMatchObject({ json: '"acknowledged"' });
    },
  );
});

describe("a server of NATS with a log that was lost and continued elsewhere", () => {
  it.each([
    ["a checkpoint shows", {}],
    ["a log backup shows", BACKED_UP],
  ])(
    "is not followed by new nodes, nor by those of the other log, if %s that one",
    { tags: "rest/slow" },
    async (_, parts) => {
      const { scene, successor } = await returned(parts);
      for (const id of ["a", "new"]) {
        const node = await scene.start(id);
        expect(await failureOf(node)).toMatchObject({
          code: "LOG_DIFFERENT",
          message: expect.stringContaining(`is an old copy: the log ${successor} continues it`),
          hint: expect.stringContaining(`cairn log recover --log ${successor}`),
        });
        expect((await node.status()).join.movedAside).toEqual([]);
      }
    },
  );

  it(
    "is not followed by new nodes if an erasure has removed the checkpoints and the segments of before",
    { tags: "rest/slow" },
    async () => {
      const { scene, lost, successor } = await returned(BACKED_UP);
      const store = path.join(scene.folder, "checkpoints");
      const files = (await readdir(store, { recursive: true })).toSorted();
      const [born = ""] = files.filter((name) => name.startsWith(`log-${successor}/`) && isSegment(name));
      const ofLost = files.filter((name) => name.startsWith(`log-${lost}/`) && isSegment(name));
      const checkpoints = files.filter((name) => name.startsWith("checkpoint-"));
      for (const name of [born, ...ofLost, ...checkpoints]) await rm(path.join(store, name));
      expect(await failureOf(await scene.start("new"))).toMatchObject({
        code: "LOG_DIFFERENT",
        message: expect.stringContaining(`is an old copy: the log ${successor} continues it`),
      });
    },
  );

  it.each([
    ["a checkpoint", {}],
    ["a log backup", BACKED_UP],
  ])(
    "is no reason to refuse a third log that continues it, although the other one left %s",
    { tags: "rest/slow" },
    async (_, parts) => {
      const { scene, lost } = await returned(parts);
      await scene.loseLog();
      await done(scene, "log", "recover", "--log", lost, "--yes");
      for (const id of ["new", "newer"]) {
        const node = await scene.ready(id, { parts });
        expect(await node.get(things("k2"))).toMatchObject({ json: '"before"' });
        const last = await put(node, 6, 9, "third");
        if ("logBackup" in parts) await backedUp(node, last);
        else await saveCheckpoint(node);
        expect((await node.status()).log.warnings).toEqual([]);
        await scene.stop(node);
      }
    },
  );

  it(
    "is not followed by a new node if only the index of another node shows that one",
    { tags: "rest/slow" },
    async () => {
      const { scene, successor } = await returned();
      const store = path.join(scene.folder, "checkpoints");
      for (const file of await readdir(store)) {
        const place = path.join(store, file);
        if (file.endsWith(".json") && (await readFile(place, "utf8")).includes(successor)) await rm(place);
      }
      const expected = {
        code: "LOG_DIFFERENT",
        message: expect.stringContaining(`is an old copy: the log ${successor} continues it`) as string,
        hint: expect.stringContaining(`cairn log recover --log ${successor}`) as string,
      };
      const a = await scene.start("a");
      expect(await failureOf(a)).toMatchObject(expected);
      const first = await scene.start("new");
      await failureOf(first);
      // It has restored an index, which is no reason to trust the log after a restart.
      await scene.stop(first);
      const node = await scene.start("new");
      const failure = await failureOf(node);
      expect(failure).toMatchObject(expected);
      expect(failure.message).toMatch(/^Node a reports: /);
      expect(failure.hint).toMatch(/^On the machine of node a: /);
      await expect(node.submit({ ops: [["put", "things", "default/x", 1]] })).rejects.toMatchObject({
        code: "NOT_READY",
      });
      // The hint is followed there.
      await scene.stop(node);
      await scene.stop(a);
      await scene.loseLog();
      await done(scene, ...commandIn(failure.hint), "--from", scene.dbDir("a"));
      const again = await scene.ready("new");
      expect(await again.get(things("k5"))).toMatchObject({ json: '"after"' });
    },
  );

  it(
    "is reported while a node runs whose store was silent when it joined",
    { tags: "rest/slow" },
    async () => {
      const { scene, successor } = await returned();
      let isAway = true;
      const before = async (): Promise<void> => {
        if (isAway) throw new CairnError("STORE_UNREACHABLE", "away");
      };
      const store = faultyStore(filesystemStore({ path: path.join(scene.folder, "checkpoints") }), {
        before,
      });
      const node = await scene.ready("new", { store, stall: { afterMs: 50 }, parts: { waitForStoreMs: 1 } });
      isAway = false;
      await vi.waitFor(
        async () =>
          expect((await node.status()).findings).toContainEqual(
            expect.objectContaining({
              code: "log-at-risk",
              error: "LOG_DIFFERENT",
              message: expect.stringContaining(`the log ${successor} continues it`),
            }),
          ),
        { timeout: 20_000 },
      );
    },
  );
});
