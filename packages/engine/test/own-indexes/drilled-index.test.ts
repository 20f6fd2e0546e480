import { cp, readdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { IndexFolders } from "../../src/own-indexes/index-folders.ts";
import { restoredDigests } from "../../src/own-indexes/checkpoint-comparison.ts";
import { documentsNow, sorted } from "../watch/varied-writes.ts";
import { JSON_INDEX, OwnScene, traced } from "./own-scene.ts";

let scene: OwnScene;
let trace = "";
beforeEach(async () => {
  scene = await OwnScene.open();
  trace = path.join(scene.folder, "trace");
});
afterEach(async () => await scene.close());

const DIFFERENT =
  /^The index json is not as it is built\. In checkpoint-\S+, which the node node-1 saved, it has/;

/** Puts a document, saves a checkpoint with the index, and verifies it. Returns its name. */
async function drilled(document: string): Promise<string> {
  await scene.put(document);
  await scene.reached();
  const name = await saveCheckpoint(scene.node);
  expect(await scene.node.verifyCheckpoint(name)).toMatchObject({ name, node: "node-1" });
  return name;
}

/** Returns the messages that were logged as errors, or with this level of pino. */
function errors(level = 50): unknown[] {
  return scene.logged.filter((line) => line["level"] === level).map(({ msg }) => msg);
}

async function staged(): Promise<string[]> {
  return await readdir(path.join(scene.dbDir, "staging")).catch(() => []);
}

it(
  "an own index in a checkpoint is compared with one built anew, and nothing is said if they are equal",
  { tags: "rest/slow" },
  async () => {
    await scene.start({ options: { trace } });
    await drilled("a");
    await drilled("b");
    // The third one of each drill is only built.
    expect(await traced(trace)).toEqual(["build", "build", "build"]);
    expect(scene.logged.map(({ msg }) => msg)).toContain("the index in the checkpoint is as it is built");
    expect([...errors(), ...errors(40)]).toEqual([]);
    expect(await staged()).toEqual([]);
  },
);

it(
  "an own index in a checkpoint that differs from one built anew is reported, and built anew once",
  { tags: "rest/slow" },
  async () => {
    await scene.start({ options: { trace, forgets: "b" } });
    await drilled("a");
    const name = await drilled("b");
    expect(errors()).toEqual([expect.stringMatching(DIFFERENT)]);
    expect((await scene.node.status()).checkpoints).toMatchObject({ lastVerified: { name } });
    await expect
      .poll(async () => await scene.contents())
      .toEqual(sorted(await documentsNow(scene.node, ["plain"])));
    await scene.reached();
    const builds = await traced(trace);
    // The checkpoint is of the earlier build.
    await scene.node.verifyCheckpoint(name);
    expect(errors()).toHaveLength(2);
    expect(await scene.ownStatus()).toMatchObject({ state: "live", failure: null });
    expect(await traced(trace)).toHaveLength(builds.length + 1);

    // Building it anew did not help.
    await scene.put("c");
    const later = await drilled("b");
    const { failure } = await scene.reached("failed");
    expect(failure).toMatchObject({
      code: "OWN_INDEX_FAILED",
      message: expect.stringContaining(
        `Its module makes different content of the same documents. In ${later},`,
      ),
      hint: expect.stringContaining("raise its version"),
    });
    const { since, nextTryAt } = failure ?? { since: "", nextTryAt: "" };
    expect(Date.parse(nextTryAt) - Date.parse(since)).toBe(3_600_000);
    expect(scene.node.phase).toBe("ready");
    expect((await scene.node.status()).checkpoints).toMatchObject({ lastVerified: { name: later } });
    expect(await staged()).toEqual([]);
  },
);

it(
  "an index that is built anew while it is purged is live after one build",
  { tags: "rest/slow" },
  async () => {
    await scene.start({ options: { trace, forgets: "b", hangs: "purge" } });
    await scene.put("a");
    await scene.reached();
    await scene.put("b");
    await scene.reached();
    const name = await saveCheckpoint(scene.node);
    await scene.node.await(await scene.node.submit({ ops: [["evict", "plain", "a"]] }));
    await expect.poll(async () => await traced(trace)).toEqual(["build", "purge"]);
    await scene.node.verifyCheckpoint(name);
    await expect.poll(async () => await traced(trace)).toEqual(["build", "purge", "build", "build"]);
    await scene.reached();
    expect(errors()).toEqual([expect.stringMatching(DIFFERENT)]);
  },
);

it(
  "an own index in a checkpoint that its module does not accept is reported, and the live one is left alone",
  { tags: "rest/slow" },
  async () => {
    await scene.start({ options: { trace, isTorn: true } });
    await drilled("a");
    expect(errors(40)).toEqual([
      expect.stringMatching(/^The index json in checkpoint-\S+ could not be compared/),
    ]);
    expect(errors()).toEqual([]);
    expect(await scene.ownStatus()).toMatchObject({ state: "live", failure: null });
    expect(await traced(trace)).toEqual(["build"]);
  },
);

it(
  "a node that stops does not wait for the comparison of an own index, and leaves nothing of it",
  { tags: "rest/slow" },
  async () => {
    const hold = path.join(scene.folder, "hold");
    await scene.start({ options: { hold, trace } });
    await scene.put("a");
    await scene.reached();
    const name = await saveCheckpoint(scene.node);
    await writeFile(hold, "");
    const verified = Promise.allSettled([scene.node.verifyCheckpoint(name)]);
    await vi.waitFor(async () => expect(await traced(trace)).toContain("held"), { timeout: 60_000 });
    await scene.node.close();
    expect(await verified).toMatchObject([{ reason: { code: "NOT_READY" } }]);
    expect(await staged()).toEqual([]);
  },
);

it(
  "an own index in a checkpoint first gets what the node's index has beyond it",
  { tags: "rest/slow" },
  async () => {
    const [own, dir] = [path.join(scene.folder, "restored"), path.join(scene.folder, "restored-index")];
    const folders = new IndexFolders(path.join(own, "json"));
    const build = {
      dir: await folders.begin(1),
      version: 1,
      options: {},
      buckets: undefined,
      purged: { txId: 0, at: 0 },
    };
    await scene.start();
    await scene.put("a");
    await scene.put("b", "early");
    await scene.reached();
    await cp(await scene.file(), path.join(build.dir, "index.json"));
    await folders.publish(build);
    await scene.put("b", "late");
    await scene.put("c");
    const expected = sorted(await documentsNow(scene.node, ["plain"]));
    await scene.node.close();
    await cp(path.join(scene.dbDir, "live"), dir, { recursive: true });
    const run = { signal: new AbortController().signal, onNotice: () => undefined };
    const options = {
      name: "json",
      version: 1,
      module: JSON_INDEX,
      options: {},
      ready: "later",
      checkpoint: true,
    } as const;
    const digest = JSON.stringify(expected);
    expect(await restoredDigests(options, { dir, own }, run)).toEqual({ restored: digest, built: digest });
    expect(
      await restoredDigests({ ...options, options: { isBare: true } }, { dir, own }, run),
    ).toBeUndefined();
    expect(await restoredDigests({ ...options, name: "other" }, { dir, own }, run)).toBeUndefined();
  },
);
