import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { Duration } from "luxon";
import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { memoryProvider } from "@cairn/kv";
import { type CairnNode, ConfigError, startNode } from "../src/index.ts";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";

let folder = "";
let node: CairnNode | undefined;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-start-"));
});
afterEach(async () => {
  await node?.close();
  node = undefined;
  await rm(folder, { recursive: true, force: true });
});

const config = (kvStore: object) => ({
  "cairn/node": { id: "n1", dir: folder },
  "cairn/index-store": { "kv-store": kvStore },
  "cairn/http-server": null,
});

describe("startNode", () => {
  it("starts a node from an object, without HTTP, and serves the embedding program", async () => {
    node = await startNode(config({ "cairn/module": "cairn.leveldb/->kv-store" }), { env: {}, cwd: folder });
    await node.ready;
    expect(node.url).toBeUndefined();
    const { txId } = await node.submit({ ops: [["put", "pods", "default/a", { up: true }]] });
    expect(await node.await(txId)).toMatchObject({ txId, committed: true });
    expect(await node.get({ bucket: "pods", namespace: "default", name: "a" })).toMatchObject({
      revision: txId,
      json: '{"up":true}',
    });
  });

  it("leaves nothing locked if it is given no logger of pino", async () => {
    const settings = { "cairn/module": "cairn.leveldb/->kv-store" };
    const starting = startNode(config(settings), { env: {}, cwd: folder, logger: {} as never });
    await expect(starting).rejects.toThrow(ConfigError);
    node = await startNode(config(settings), { env: {}, cwd: folder });
    await node.ready;
  });

  it("reports data of XTDB in its folders, and does not change it", async () => {
    const [index, store] = [path.join(folder, "idx"), path.join(folder, "cp")];
    const left = [path.join(index, "OPTIONS-000007"), path.join(store, "checkpoint-28-2021.edn")];
    for (const file of left) {
      await mkdir(path.dirname(file), { recursive: true });
      await writeFile(file, "theirs");
    }
    const told: string[] = [];
    const checkpointer = {
      store: { "cairn/module": "cairn.checkpoint/->filesystem-checkpoint-store", path: store },
      "approx-frequency": "PT1H",
    };
    const logger = pino(
      { level: "warn" },
      { write: (line) => void told.push((JSON.parse(line) as { msg: string }).msg) },
    );
    node = await startNode(config({ "db-dir": index, checkpointer }), { env: {}, cwd: folder, logger });
    await node.ready;
    expect(told).toEqual([
      expect.stringMatching(/idx \(.*db-dir\) contains a RocksDB database, .* cairn load/),
      expect.stringMatching(/cp \(.*store > path\) contains checkpoints of Crux or XTDB, .* cairn load/),
    ]);
    for (const file of left) expect(await readFile(file, "utf8")).toBe("theirs");
  });

  it("restores an index in memory solely from a checkpoint that it saved", async () => {
    const memory = () =>
      config({
        "cairn/module": memoryProvider(),
        checkpointer: {
          "cairn/module": "cairn.checkpoint/->checkpointer",
          store: {
            "cairn/module": "cairn.checkpoint/->filesystem-checkpoint-store",
            path: path.join(folder, "checkpoints"),
          },
          "approx-frequency": Duration.fromObject({ hours: 6 }),
        },
      });
    node = await startNode(memory(), { env: {}, cwd: folder });
    await node.ready;
    for (let n = 0; n < 10; n += 1) await node.submit({ ops: [["put", "pods", `default/${n}`, n]] });
    await node.await(11);
    await saveCheckpoint(node);
    await node.submit({ ops: [["delete", "pods", "default/3"]] });
    await node.await(12);
    const digest = await node.digest();
    await node.close();
    node = await startNode(memory(), { env: {}, cwd: folder });
    await node.ready;
    expect(await node.digest()).toEqual(digest);
    const { join } = await node.status();
    expect(join).toMatchObject({ restoredFrom: { txId: 11 }, replayed: 1 });
  });

  it("starts nothing and creates nothing if the configuration has problems, and lists all of them", async () => {
    const wrong = { "cairn/node": { id: "n1", dir: folder, idd: 1 }, "cairn/http-server": { port: -1 } };
    await expect(startNode(wrong, { env: {}, cwd: folder })).rejects.toMatchObject({
      code: "CONFIG_INVALID",
      problems: [{}, {}],
    });
    expect(await readdir(folder)).toEqual([]);
  });

  it.each([
    ["options of startNode: Expected an object.", null],
    ["options of startNode: Expected an object.", "x"],
    ["options of startNode, logger: Expected a pino logger.", { logger: console }],
    ["options of startNode, onEvent: Expected a function.", { onEvent: 3 }],
    ["options of startNode, env: Expected an object of variables.", { env: null }],
    ["options of startNode, cwd: Expected the path of a folder. (and 1 more)", { cwd: 3, env: 3 }],
    ["options of startNode, loger: Expected one of the options logger, onEvent, env, cwd.", { loger: 3 }],
  ])("refuses options that it cannot use before it starts anything: %s", async (message, options) => {
    const wrong = options as unknown as Parameters<typeof startNode>[1];
    await expect(startNode(config({}), wrong)).rejects.toMatchObject({
      code: "CONFIG_INVALID",
      message,
      hint: expect.stringMatching(/^Pass (an?|the|one) .*, or omit /),
    });
    expect(await readdir(folder)).toEqual([]);
  });
});
