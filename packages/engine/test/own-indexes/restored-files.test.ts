import { cp, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import path from "node:path";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { cairn, CapturedTerminal } from "@cairn/test-support/nodes/captured-terminal";
import { documentsNow, sorted } from "../watch/varied-writes.ts";
import { OwnScene, traced } from "./own-scene.ts";

let scene: OwnScene;
let trace = "";
beforeEach(async () => {
  scene = await OwnScene.open();
  trace = path.join(scene.folder, "trace");
});
afterEach(async () => await scene.close());

async function expectExact(): Promise<void> {
  await scene.reached();
  expect(await scene.contents()).toEqual(sorted(await documentsNow(scene.node, ["plain"])));
}

/** Expects that the index was built once more than it was before, and goes on from there. */
async function expectBuilt(builds: number): Promise<void> {
  await expectExact();
  await scene.put("later");
  await expectExact();
  expect((await traced(trace)).filter((line) => line === "build")).toHaveLength(builds);
}

/** Stops the node. */
async function stopped(): Promise<void> {
  await scene.reached();
  await scene.node.close();
}

describe("an own index is built anew", () => {
  const DAMAGES: Readonly<Record<string, () => Promise<void>>> = {
    "served.json is damaged": async () =>
      await writeFile(path.join(scene.own, "served.json"), '{"folder": "1'),
    "its folder was removed": async () => await rm(path.dirname(await scene.file()), { recursive: true }),
    "its file was removed": async () => await rm(await scene.file()),
    "the module does not accept its file": async () => await truncate(await scene.file(), 9),
  };
  it.each(Object.keys(DAMAGES))("if %s", { tags: "rest/slow" }, async (damage) => {
    await scene.start({ options: { trace } });
    await scene.put("a");
    await stopped();
    await DAMAGES[damage]?.();
    await scene.start({ options: { trace } });
    await expectBuilt(2);
    expect(await scene.folders()).toHaveLength(1);
  });

  it("if its folder is removed while it is used", async () => {
    await scene.start({ options: { trace } });
    await scene.put("a");
    await scene.reached();
    await rm(scene.own, { recursive: true });
    await scene.put("b");
    await expectBuilt(2);
  });

  it("if the index that it was derived from is moved aside", async () => {
    const log = path.join(scene.folder, "node-1-log");
    await scene.start({ options: { trace } });
    await scene.put("a");
    await stopped();
    await cp(log, `${log}-before`, { recursive: true });
    await scene.start({ options: { trace } });
    await scene.put("lost");
    await stopped();
    await rm(log, { recursive: true });
    await cp(`${log}-before`, log, { recursive: true });
    await scene.start({ options: { trace } });
    expect((await scene.node.status()).join.movedAside).toMatchObject([{ code: "LOG_REGRESSED" }]);
    await expectBuilt(2);
  });

  it("if the module does not accept the file of a checkpoint, which is restored nevertheless", async () => {
    await scene.start({ options: { trace, isTorn: true } });
    await scene.put("a");
    await scene.reached();
    const name = await saveCheckpoint(scene.node);
    await scene.node.close();
    await rm(scene.dbDir, { recursive: true });
    await scene.start({ options: { trace } });
    expect((await scene.node.status()).join).toMatchObject({ restoredFrom: { name }, skipped: [] });
    await expectBuilt(2);
  });
});

async function ownFilesIn(folder: string): Promise<string[]> {
  return (await readdir(folder)).filter((file) => file.startsWith("own"));
}

describe("a checkpoint with an own index", () => {
  let name = "";
  beforeEach(async () => {
    await scene.start({ options: { trace } });
    await scene.put("a");
    await scene.reached();
    await saveCheckpoint(scene.node);
    await scene.put("b");
    await scene.reached();
    name = await saveCheckpoint(scene.node);
    await scene.node.close();
    await rm(scene.dbDir, { recursive: true });
  });

  it.each(["damaged", "truncated"])(
    "is skipped like any other if the index's file in it is %s",
    { tags: "rest/slow" },
    async (how) => {
      const archive = path.join(scene.folder, "checkpoints", `${name}.tar`);
      const bytes = await readFile(archive);
      const at = bytes.indexOf('{"position":');
      expect(at).toBeGreaterThan(0);
      bytes[at + 3] = 0;
      await writeFile(archive, how === "damaged" ? bytes : bytes.subarray(0, at + 3));
      await scene.start({ options: { trace } });
      expect((await scene.node.status()).join).toMatchObject({
        restoredFrom: { txId: 2 },
        skipped: [{ name, code: how === "damaged" ? "CHECKPOINT_CORRUPT" : "CHECKPOINT_INCOMPLETE" }],
      });
      await expectBuilt(1);
    },
  );

  it("is restored without it by a node that does not have the index", { tags: "rest/slow" }, async () => {
    await scene.start(null);
    expect((await scene.node.status()).join).toMatchObject({ restoredFrom: { name }, skipped: [] });
    expect(await ownFilesIn(path.join(scene.dbDir, "live"))).toEqual([]);
    expect(await ownFilesIn(scene.dbDir)).toEqual([]);
  });

  it("is restored without it by a command", { tags: "rest/slow" }, async () => {
    const terminal = new CapturedTerminal({ cwd: scene.folder });
    const { stdout } = await cairn(["checkpoint", "restore", "checkpoints", "-o", "restored"], terminal);
    const restored = await readdir(path.join(scene.folder, "restored"));
    expect(stdout).toContain(`${restored.length} files`);
    expect(await ownFilesIn(path.join(scene.folder, "restored"))).toEqual([]);
  });
});
