import { readdir, readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { makeTemporaryFolder } from "@cairn/kv";
import type { OwnIndexStatus, Policies } from "@cairn/client";
import { runNode } from "@cairn/node";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";
import { quietSystem } from "@cairn/test-support/nodes/quiet-system";
import { seededPicks } from "@cairn/test-support/seeded-random";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { CairnNode } from "../../src/node/node.ts";
import { openEmbeddedTxLog } from "../../src/log/embedded/embedded-tx-log.ts";
import type { OwnIndexOptions } from "../../src/own-indexes/own-index.ts";
import { documentsNow, sorted, workOnQueue, writeOne } from "../watch/varied-writes.ts";

const MODULE = {
  url: pathToFileURL(path.join(import.meta.dirname, "json-index.mjs")).href,
  export: "create",
};
const BUCKETS = ["plain", "short", "mails"];
const POLICIES: Policies = {
  expire: { short: { after: 3 } },
  history: { plain: { keep: 0 } },
  queues: { mails: { shards: 4, cap: 50, terminal: { state: ["done"] }, lease: "PT1M" } },
};

let folder = "";
let node: CairnNode;
const open: CairnNode[] = [];
beforeEach(async () => {
  folder = await makeTemporaryFolder("cairn-own-");
});
afterEach(async () => {
  for (const one of open.splice(0)) await one.close();
  await rm(folder, { recursive: true, force: true });
});

async function start(given: Partial<OwnIndexOptions> = {}): Promise<void> {
  const openTxLog = async () => await openEmbeddedTxLog({ path: path.join(folder, "node-1-log") });
  const options = {
    name: "json",
    version: 1,
    module: MODULE,
    options: {},
    ready: "later" as const,
    checkpoint: true,
  };
  const system = quietSystem({ folder, nodeId: "node-1", openTxLog });
  node = await runNode({ ...system, ownIndexes: [{ ...options, ...given }] });
  open.push(node);
  await node.ready;
}

async function put(name: string, document: unknown = 1): Promise<void> {
  await node.await(await node.submit({ ops: [["put", "plain", name, document as number]] }));
}

async function ownStatus(): Promise<OwnIndexStatus> {
  const { ownIndexes } = await node.status();
  const [only] = ownIndexes;
  if (only === undefined) throw new Error("there is no index");
  return only;
}

async function reached(state: OwnIndexStatus["state"] = "live"): Promise<OwnIndexStatus> {
  const { index } = await node.status();
  await expect
    .poll(ownStatus, { interval: 10 })
    .toMatchObject(state === "live" ? { state, txId: index.txId } : { state });
  return await ownStatus();
}

const own = (): string => path.join(folder, "node-1-index", "own", "json");

async function folders(): Promise<string[]> {
  return (await readdir(own())).filter((name) => name !== "served.json");
}

async function contents(): Promise<readonly (readonly [string, string])[]> {
  const served = JSON.parse(await readFile(path.join(own(), "served.json"), "utf8")) as { folder: string };
  const text = await readFile(path.join(own(), served.folder, "index.json"), "utf8");
  const { documents } = JSON.parse(text) as { documents: Record<string, string> };
  return sorted(new Map(Object.entries(documents)));
}

async function traced(file: string): Promise<string[]> {
  return (await readFile(file, "utf8")).trimEnd().split("\n");
}

describe("an index of one's own", () => {
  it.each([1, 2, 3])("is what the lists are, whatever removes documents (seed %i)", async (seed) => {
    const picks = seededPicks(seed);
    await start();
    await node.await(await node.submit({ ops: [["configure", POLICIES]] }));
    for (let round = 0; round < 25; round += 1) {
      for (let count = picks.below(12); count > 0; count -= 1) await writeOne(node, picks);
      await workOnQueue(node, picks, round);
      if (round % 5 > 0) continue;
      const others = picks.below(2) === 0;
      if (others) await node.close();
      if (others) await start();
      await reached();
      expect(await contents()).toEqual(sorted(await documentsNow(node, BUCKETS)));
    }
  });

  it("goes on from its position after a restart, and is not built again", async () => {
    await start();
    await put("a");
    await reached();
    const before = await folders();
    await node.close();
    await start();
    await put("b");
    await reached();
    expect(await folders()).toEqual(before);
    expect(await contents()).toEqual(sorted(await documentsNow(node, ["plain"])));
  });

  it("of another version is built anew, and the earlier one answers until then", async () => {
    await start();
    await put("a");
    await reached();
    await node.close();
    const hold = path.join(folder, "hold");
    await writeFile(hold, "");
    await start({ version: 2, options: { hold } });
    await expect.poll(ownStatus).toMatchObject({ version: 2, state: "building", served: 1 });
    await rm(hold);
    expect(await reached()).toMatchObject({ served: 2 });
    expect(await folders()).toHaveLength(1);
    expect(await contents()).toEqual(sorted(await documentsNow(node, ["plain"])));
  });

  it("that is no longer configured leaves no files", async () => {
    await start();
    await put("a");
    await reached();
    await node.close();
    await start({ name: "other" });
    await expect.poll(async () => await readdir(path.dirname(own()))).toEqual(["other"]);
  });

  it("that fails says why, and never concerns the node, even one that waits for it", async () => {
    await start({ options: { failOn: "bad" }, ready: "waits" });
    await put("good");
    await reached();
    await put("bad");
    const { failure } = await reached("failed");
    expect(failure).toMatchObject({ code: "OWN_INDEX_FAILED" });
    expect(await ownStatus()).toMatchObject({ txId: null, served: null });
    expect(failure?.message).toContain("it cannot index plain default/bad");
    expect((await node.status()).findings).toMatchObject([
      { code: "own-index-failed", since: failure?.since },
    ]);
    await put("more");
    expect(node.phase).toBe("ready");
    await node.close();
    await start({ options: { failOn: "bad" }, ready: "waits" });
    await reached("failed");
    await node.await(await node.submit({ ops: [["delete", "plain", "bad"]] }));
    await reached();
    expect(await contents()).toEqual(sorted(await documentsNow(node, ["plain"])));
  });

  it("is there once the node is ready, if the node waits for it", async () => {
    await start();
    for (let n = 0; n < 20; n += 1) await put(`k${n}`);
    await node.close();
    await rm(own(), { recursive: true });
    await start({ ready: "waits" });
    expect(await ownStatus()).toMatchObject({ state: "live" });
    expect(await contents()).toEqual(sorted(await documentsNow(node, ["plain"])));
  });

  it("is restored with a checkpoint, and goes on from there", async () => {
    const trace = path.join(folder, "trace");
    await start({ options: { trace } });
    await put("a");
    await reached();
    await saveCheckpoint(node);
    await put("b");
    await node.close();
    await rm(path.join(folder, "node-1-index"), { recursive: true });
    await start({ options: { trace } });
    await reached();
    expect(await contents()).toEqual(sorted(await documentsNow(node, ["plain"])));
    expect(await traced(trace)).toEqual(["build"]);
    expect(await readdir(path.join(folder, "node-1-index", "live"))).not.toContainEqual(
      expect.stringMatching(/^own-/),
    );
  });

  it.each([{ version: 2 }, { name: "other" }, { checkpoint: false }])(
    "is built where a checkpoint does not have it: %j",
    async (given) => {
      const trace = path.join(folder, "trace");
      await start({ options: { trace }, ...(given.checkpoint === false ? given : {}) });
      await put("a");
      await reached();
      await saveCheckpoint(node);
      await node.close();
      await rm(path.join(folder, "node-1-index"), { recursive: true });
      await start({ options: { trace }, ...given });
      await reached();
      expect(await traced(trace)).toEqual(["build", "build"]);
    },
  );

  it("that is behind is not in a checkpoint, which is saved nevertheless", async () => {
    const [trace, hold] = [path.join(folder, "trace"), path.join(folder, "hold")];
    await writeFile(hold, "");
    await start({ options: { trace, hold } });
    await put("a");
    await saveCheckpoint(node);
    await rm(hold);
    await reached();
    const [name = ""] = (await node.checkpoints()).map((one) => one.name);
    const manifest = await readFile(path.join(folder, "checkpoints", `${name}.json`), "utf8");
    expect(manifest).not.toContain("own-");
  });

  it("is purged after an eviction before it is in a checkpoint, or built again if it cannot be", async () => {
    const trace = path.join(folder, "trace");
    await start({ options: { trace } });
    await put("a");
    await reached();
    await node.await(await node.submit({ ops: [["evict", "plain", "a"]] }));
    await saveCheckpoint(node);
    expect(await traced(trace)).toEqual(["build", "purge"]);
    await saveCheckpoint(node);
    expect(await traced(trace)).toEqual(["build", "purge"]);
    await node.close();
    await start({ options: { trace, isBare: true } });
    await put("b");
    await reached();
    await node.await(await node.submit({ ops: [["evict", "plain", "b"]] }));
    await expect.poll(async () => await traced(trace)).toEqual(["build", "purge", "build"]);
    await reached();
    expect(await contents()).toEqual([]);
  });

  it("gets only the documents of its buckets", async () => {
    await start({ buckets: ["short"] });
    await put("a");
    await node.await(await node.submit({ ops: [["put", "short", "b", 1]] }));
    await reached();
    expect(await contents()).toEqual(sorted(await documentsNow(node, ["short"])));
  });
});
