import { readdir, readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import type { Policies } from "@cairn/client";
import { commitSeed } from "@cairn/kv/testing";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";
import { seededPicks } from "@cairn/test-support/seeded-random";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { IndexFolders } from "../../src/own-indexes/index-folders.ts";
import { KeptBuild } from "../../src/own-indexes/kept-build.ts";
import { StateFeed } from "../../src/own-indexes/state-feed.ts";
import { documentsNow, sorted, workOnQueue, writeOne } from "../watch/varied-writes.ts";
import { OwnScene, traced } from "./own-scene.ts";

const SEED = commitSeed();
const BUCKETS = ["plain", "short", "mails"];
const POLICIES: Policies = {
  expire: { short: { after: 3 } },
  history: { plain: { keep: 0 } },
  queues: { mails: { shards: 4, cap: 50, terminal: { state: ["done"] }, lease: "PT1M" } },
};

/** Resolves when an eviction that is noticed would end the complete build. */
async function noticedEviction(): Promise<void> {
  const { leave } = KeptBuild.prototype;
  await new Promise<void>((resolve) => {
    vi.spyOn(KeptBuild.prototype, "leave").mockImplementation(async function leaving(this: KeptBuild, dir) {
      resolve();
      await leave.call(this, dir);
    });
  });
}

async function evict(name: string): Promise<void> {
  await scene.node.await(await scene.node.submit({ ops: [["evict", "plain", name]] }));
}

let scene: OwnScene;
beforeEach(async () => {
  scene = await OwnScene.open();
});
afterEach(async () => {
  vi.restoreAllMocks();
  await scene.close();
});

async function expectLikeLists(seed: number): Promise<void> {
  const picks = seededPicks(seed);
  await scene.start();
  await scene.node.await(await scene.node.submit({ ops: [["configure", POLICIES]] }));
  for (let round = 0; round < 25; round += 1) {
    for (let count = picks.below(12); count > 0; count -= 1) await writeOne(scene.node, picks);
    await workOnQueue(scene.node, picks, round);
    if (round % 5 > 0) continue;
    const others = picks.below(2) === 0;
    if (others) await scene.node.close();
    if (others) await scene.start();
    await scene.reached();
    expect(await scene.contents()).toEqual(sorted(await documentsNow(scene.node, BUCKETS)));
  }
}

describe("an index of one's own", () => {
  const PROMISE = "is what the lists are, whatever removes documents";

  it(`${PROMISE} (seed ${SEED})`, async () => await expectLikeLists(SEED));

  it.each([1, 2, 3])(`${PROMISE} (seed %i)`, { tags: "rest/campaign" }, expectLikeLists);

  it("goes on from its position after a restart, and is not built again", { tags: "rest/slow" }, async () => {
    await scene.start();
    await scene.put("a");
    await scene.reached();
    const before = await scene.folders();
    await scene.node.close();
    await scene.start();
    await scene.put("b");
    await scene.reached();
    expect(await scene.folders()).toEqual(before);
    expect(await scene.contents()).toEqual(sorted(await documentsNow(scene.node, ["plain"])));
  });

  it(
    "of another version is built anew, and the earlier one answers until then",
    { tags: "rest/slow" },
    async () => {
      await scene.start();
      await scene.put("a");
      await scene.reached();
      await scene.node.close();
      const hold = path.join(scene.folder, "hold");
      await writeFile(hold, "");
      await scene.start({ version: 2, options: { hold } });
      await expect.poll(scene.ownStatus).toMatchObject({ version: 2, state: "building", served: 1 });
      await rm(hold);
      expect(await scene.reached()).toMatchObject({ served: 2 });
      expect(await scene.folders()).toHaveLength(1);
      expect(await scene.contents()).toEqual(sorted(await documentsNow(scene.node, ["plain"])));
    },
  );

  it(
    "of an earlier version is back with its version in the configuration if the new one fails",
    { tags: "rest/slow" },
    async () => {
      const trace = path.join(scene.folder, "trace");
      await scene.start({ options: { trace } });
      await scene.put("a");
      await scene.reached();
      await scene.node.close();
      await scene.start({ version: 2, options: { failOn: "a" } });
      const { failure } = await scene.reached("failed");
      expect(failure?.hint).toContain("its version in the configuration brings it back");
      await scene.node.close();
      await scene.start({ options: { trace } });
      await scene.reached();
      expect(await traced(trace)).toEqual(["build"]);
      expect(await scene.contents()).toEqual(sorted(await documentsNow(scene.node, ["plain"])));
    },
  );

  it("that is no longer configured leaves no files", { tags: "rest/slow" }, async () => {
    await scene.start();
    await scene.put("a");
    await scene.reached();
    await scene.node.close();
    await scene.start({ name: "other" });
    await expect.poll(async () => await readdir(path.dirname(scene.own))).toEqual(["other"]);
  });

  it(
    "that fails says why, and never concerns the node, even one that waits for it",
    { tags: "rest/slow" },
    async () => {
      await scene.start({ options: { failOn: "bad" }, ready: "waits" });
      await scene.put("good");
      await scene.reached();
      await scene.put("bad");
      const { failure } = await scene.reached("failed");
      expect(failure).toMatchObject({ code: "OWN_INDEX_FAILED" });
      expect(await scene.ownStatus()).toMatchObject({ txId: null, served: null });
      expect(failure?.message).toContain("it cannot index plain default/bad");
      expect((await scene.node.status()).findings).toMatchObject([
        { code: "own-index-failed", since: failure?.since },
      ]);
      await scene.put("more");
      expect(scene.node.phase).toBe("ready");
      await scene.node.close();
      await scene.start({ options: { failOn: "bad" }, ready: "waits" });
      await scene.reached("failed");
      await scene.node.await(await scene.node.submit({ ops: [["delete", "plain", "bad"]] }));
      await scene.reached();
      expect(await scene.contents()).toEqual(sorted(await documentsNow(scene.node, ["plain"])));
    },
  );

  it("is there once the node is ready, if the node waits for it", { tags: "rest/slow" }, async () => {
    await scene.start();
    for (let n = 0; n < 20; n += 1) await scene.put(`k${n}`);
    await scene.node.close();
    await rm(scene.own, { recursive: true });
    await scene.start({ ready: "waits" });
    expect(await scene.ownStatus()).toMatchObject({ state: "live" });
    expect(await scene.contents()).toEqual(sorted(await documentsNow(scene.node, ["plain"])));
  });

  it("is restored with a checkpoint, and goes on from there", async () => {
    const trace = path.join(scene.folder, "trace");
    await scene.start({ options: { trace } });
    await scene.put("a");
    await scene.reached();
    await saveCheckpoint(scene.node);
    await scene.put("b");
    await scene.node.close();
    await rm(scene.dbDir, { recursive: true });
    await scene.start({ options: { trace } });
    await scene.reached();
    expect(await scene.contents()).toEqual(sorted(await documentsNow(scene.node, ["plain"])));
    expect(await traced(trace)).toEqual(["build"]);
    expect(await readdir(path.join(scene.dbDir, "live"))).not.toContainEqual(expect.stringMatching(/^own-/));
  });

  it.each([{ version: 2 }, { name: "other" }, { checkpoint: false }])(
    "is built where a checkpoint does not have it: %j",
    { tags: "rest/slow" },
    async (given) => {
      const trace = path.join(scene.folder, "trace");
      await scene.start({ options: { trace }, ...(given.checkpoint === false ? given : {}) });
      await scene.put("a");
      await scene.reached();
      await saveCheckpoint(scene.node);
      await scene.node.close();
      await rm(scene.dbDir, { recursive: true });
      await scene.start({ options: { trace }, ...given });
      await scene.reached();
      expect(await traced(trace)).toEqual(["build", "build"]);
    },
  );

  it(
    "that is behind is not in a checkpoint, which is saved nevertheless",
    { tags: "rest/slow" },
    async () => {
      const [trace, hold] = [path.join(scene.folder, "trace"), path.join(scene.folder, "hold")];
      await writeFile(hold, "");
      await scene.start({ options: { trace, hold } });
      await scene.put("a");
      await saveCheckpoint(scene.node);
      await rm(hold);
      await scene.reached();
      const [name = ""] = (await scene.node.checkpoints()).map((one) => one.name);
      const manifest = await readFile(path.join(scene.folder, "checkpoints", `${name}.json`), "utf8");
      expect(manifest).not.toContain("own-");
    },
  );

  it.each([{ leaves: "folder" }, { leaves: "link" }, { leaves: "name" }, { isMute: true }, { isShy: true }])(
    "that cannot be in a checkpoint does not keep it from being saved, its module is told, and it stays live: %j",
    { tags: "rest/slow" },
    async (options) => {
      await scene.start({ options });
      await scene.put("a");
      await scene.reached();
      await saveCheckpoint(scene.node);
      const [name = ""] = (await scene.node.checkpoints()).map((one) => one.name);
      const manifest = await readFile(path.join(scene.folder, "checkpoints", `${name}.json`), "utf8");
      expect(manifest).not.toContain("own-");
      expect(scene.logged).toContainEqual(
        expect.objectContaining({
          code: "OWN_INDEX_FAILED",
          msg: expect.stringMatching(
            /^The index json could not be captured \(.*(own-json\.1\.more|its method capture|it is not captured)/,
          ) as string,
          hint: expect.stringContaining("Correct its module") as string,
        }),
      );
      await scene.put("b");
      await scene.reached();
      expect(scene.logged.filter(({ msg }) => String(msg).includes("index json failed"))).toEqual([]);
    },
  );

  it("whose thread ends is a fault of its module, not of Cairn", { tags: "rest/slow" }, async () => {
    await scene.start({ options: { exitsOn: "bad" } });
    await scene.reached();
    await scene.put("bad");
    const { failure } = await scene.reached("failed");
    expect(failure?.hint).toMatch(/^Correct its module/);
  });

  it(
    "is purged after an eviction before it is in a checkpoint, or built again if it cannot be",
    { tags: "rest/slow" },
    async () => {
      const trace = path.join(scene.folder, "trace");
      await scene.start({ options: { trace } });
      await scene.put("a");
      await scene.reached();
      await scene.node.await(await scene.node.submit({ ops: [["evict", "plain", "a"]] }));
      await saveCheckpoint(scene.node);
      expect(await traced(trace)).toEqual(["build", "purge"]);
      await saveCheckpoint(scene.node);
      expect(await traced(trace)).toEqual(["build", "purge"]);
      await scene.node.close();
      await scene.start({ options: { trace, isBare: true } });
      await scene.put("b");
      await scene.reached();
      await scene.node.await(await scene.node.submit({ ops: [["evict", "plain", "b"]] }));
      await expect.poll(async () => await traced(trace)).toEqual(["build", "purge", "build"]);
      await scene.reached();
      expect(await scene.contents()).toEqual([]);
    },
  );

  it(
    "may return what the earlier version has while that answers, and is built anew for other buckets",
    { tags: "rest/slow" },
    async () => {
      await scene.start({ buckets: ["plain", "short"] });
      await scene.put("a");
      await scene.reached();
      await scene.node.close();
      const hold = path.join(scene.folder, "hold");
      await writeFile(hold, "");
      await scene.start({ buckets: ["short"], options: { hold } });
      await expect.poll(scene.ownStatus).toMatchObject({ state: "building", served: 1 });
      expect(scene.node.indexBuckets("json")).toEqual(["plain", "short"]);
      await rm(hold);
      await scene.reached();
      expect(scene.node.indexBuckets("json")).toEqual(["short"]);
      expect(await scene.contents()).toEqual([]);
    },
  );

  it(
    "may still contain what was evicted until it is purged, and evictions say so",
    { tags: "rest/slow" },
    async () => {
      const hold = path.join(scene.folder, "hold");
      await scene.start({ options: { hold } });
      await scene.put("a");
      await scene.reached();
      await writeFile(hold, "");
      await scene.node.await(await scene.node.submit({ ops: [["evict", "plain", "a"]] }));
      const files = async () => (await scene.node.evictions()).evictions[0]?.files;
      await expect.poll(files).toEqual({ goneSince: null, waitsFor: "own-index" });
      await rm(hold);
      await expect.poll(files).toMatchObject({ waitsFor: null });
      await scene.node.close();
      await writeFile(hold, "");
      await scene.start({ version: 2, options: { hold } });
      await expect.poll(scene.ownStatus).toMatchObject({ state: "building", served: 1 });
      expect(await files()).toEqual({ goneSince: null, waitsFor: "own-index" });
    },
  );

  it(
    "keeps the build that has just been completed when an eviction is noticed",
    { tags: "rest/slow" },
    async () => {
      const [trace, hold] = [path.join(scene.folder, "trace"), path.join(scene.folder, "hold")];
      await writeFile(hold, "");
      await scene.start({ options: { trace, hold } });
      await expect.poll(async () => await readFile(trace, "utf8").catch(() => "")).toBe("held\n");
      await scene.put("a");
      await evict("a");
      const noticed = noticedEviction();
      const { removeOthers } = IndexFolders.prototype;
      vi.spyOn(IndexFolders.prototype, "removeOthers").mockImplementation(async function removing(
        this: IndexFolders,
        dir,
      ) {
        await noticed;
        await removeOthers.call(this, dir);
      });
      await rm(hold);
      await scene.reached();
      expect(await traced(trace)).toEqual(["held", "build"]);
    },
  );

  it("keeps the build that is opened again when an eviction is noticed", { tags: "rest/slow" }, async () => {
    const trace = path.join(scene.folder, "trace");
    await scene.start({ options: { trace } });
    await scene.put("a");
    await scene.reached();
    await scene.node.close();
    const noticed = noticedEviction();
    const { standing } = StateFeed.prototype;
    vi.spyOn(StateFeed.prototype, "standing").mockImplementation(async function held(
      this: StateFeed,
      position,
    ) {
      await noticed;
      return await standing.call(this, position);
    });
    await scene.start({ options: { trace } });
    await evict("a");
    await scene.reached();
    expect(await scene.contents()).toEqual([]);
    expect(await traced(trace)).toEqual(["build"]);
  });

  it.each(["open", "capture"])(
    "that hangs in %s does not keep its node from stopping",
    { tags: "rest/slow" },
    async (hangs) => {
      await scene.start({ options: { hangs } });
      await scene.put("a");
      if (hangs === "capture") {
        await scene.reached();
        const saving = scene.node.checkpoint();
        await saving.begun;
      }
      await scene.node.close();
      expect(scene.node.phase).toBe("stopping");
    },
  );

  it("whose thread cannot be ended does not keep its node from stopping", { tags: "rest/slow" }, async () => {
    const trace = path.join(scene.folder, "pid");
    await scene.start({ options: { hangs: "native", trace } });
    await expect.poll(async () => (await readFile(trace, "utf8").catch(() => "")).trim()).toMatch(/^\d+$/);
    const pid = Number(await readFile(trace, "utf8"));
    await scene.node.close();
    // Otherwise, the node would have waited until it ended.
    expect(process.kill(pid, 0)).toBe(true);
    process.kill(pid);
  });

  it("gets only the documents of its buckets", async () => {
    await scene.start({ buckets: ["short"] });
    await scene.put("a");
    await scene.node.await(await scene.node.submit({ ops: [["put", "short", "b", 1]] }));
    await scene.reached();
    expect(await scene.contents()).toEqual(sorted(await documentsNow(scene.node, ["short"])));
  });
});
