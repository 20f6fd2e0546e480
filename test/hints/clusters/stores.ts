import { existsSync } from "node:fs";
import { rm, truncate, writeFile } from "node:fs/promises";
import path from "node:path";
import { newIdentity } from "@cairn/checkpoint/testing";
import type { NODE_FINDINGS } from "@cairn/engine";
import { expect } from "vitest";
import { newestArchive } from "@cairn/test-support/watched-store";
import {
  changeBytes,
  fillDisk,
  freeDisk,
  mountVolume,
  remount,
  smallDisk,
  unmountVolume,
  volumeAt,
} from "../scene/damage.ts";
import { type BrokenCluster, byItself } from "../scene/broken-cluster.ts";
import type { HintScene } from "../scene/hint-scene.ts";

function newestArchivePath(scene: HintScene): string {
  const store = scene.path("checkpoints");
  return path.join(store, newestArchive(store));
}

/** Writes a key file unless there is one, and returns the settings of a node that encrypts with it. */
async function encrypting(scene: HintScene): Promise<object> {
  const file = scene.path("cairn.key");
  if (!existsSync(file)) await writeFile(file, `${newIdentity()}\n`);
  const encryption = { "key-file": file };
  return { "cairn/index-store": { "kv-store": { checkpointer: { encryption } } } };
}

/** Returns the settings of a node that keeps the newest `count` checkpoints, or all of them. */
function keeping(count: number | undefined): object {
  const policy = count === undefined ? null : { "retain-at-least": count };
  return { "cairn/index-store": { "kv-store": { checkpointer: { "retention-policy": policy } } } };
}

/** Returns the settings of a node that saves about every second into a folder that all nodes share. */
function sharing(scene: HintScene, folder: string): object {
  const store = {
    "cairn/module": "cairn.checkpoint/->filesystem-checkpoint-store",
    path: scene.path(folder),
    "shared-store": true,
  };
  return { "cairn/index-store": { "kv-store": { checkpointer: { store, "approx-frequency": "PT1S" } } } };
}

/** Saves two checkpoints. */
async function saveTwice(scene: HintScene): Promise<void> {
  await scene.ready("a");
  await scene.fill("a", 1, 5);
  await scene.run("checkpoint create");
  await scene.fill("a", 6, 9);
  await scene.run("checkpoint create");
}

/** Makes both nodes save in turn until the first one reports a finding, for which several looks may be needed. */
async function saveUntilFound(scene: HintScene, code: keyof typeof NODE_FINDINGS): Promise<void> {
  const isFound = async (): Promise<boolean> =>
    (await scene.node("a").status()).findings.some((finding) => finding.code === code);
  for (let n = 1; !(await isFound()); n += 1) {
    for (const id of ["b", "a"]) {
      await scene.fill(id, n, n);
      await scene.run("checkpoint create", { on: id });
    }
  }
}

/** Clusters whose checkpoints or checkpoint store are broken. */
export const STORES: readonly BrokenCluster[] = [
  {
    name: "checkpoint-damaged",
    failure: "the newest checkpoint is damaged",
    codes: ["CHECKPOINT_CORRUPT"],
    async break(scene) {
      await saveTwice(scene);
      await changeBytes(newestArchivePath(scene));
      await scene.ready("c");
      return { status: "c" };
    },
    hint: /^Skipped +checkpoint-\S+: CHECKPOINT_CORRUPT/m,
    // The node has joined without it, and the notice ends with the next checkpoint, as its hint says.
    async follow(scene) {
      const { findings } = await scene.node("c").status();
      const hint = expect.stringMatching(/^Save another checkpoint: .*cairn checkpoint create/);
      expect(findings).toMatchObject([{ code: "checkpoint-skipped", hint }]);
      await scene.runStep("checkpoint create", { on: "c" });
      expect((await scene.node("c").status()).findings).toEqual([]);
    },
  },
  {
    name: "checkpoint-cut",
    failure: "the newest checkpoint's archive was truncated",
    codes: ["CHECKPOINT_INCOMPLETE"],
    async break(scene) {
      await saveTwice(scene);
      await truncate(newestArchivePath(scene), 1_000);
      await scene.ready("c");
      return { status: "c" };
    },
    hint: /^Skipped +checkpoint-\S+: CHECKPOINT_INCOMPLETE/m,
    follow: byItself,
  },
  {
    name: "key-missing",
    failure: "the checkpoints are encrypted, and a joining node has no key file",
    codes: ["KEY_MISSING"],
    async break(scene) {
      await scene.ready("a", { settings: await encrypting(scene) });
      await scene.fill("a", 1, 5);
      await scene.run("checkpoint create");
      scene.start("b");
      return { status: "b" };
    },
    hint: /KEY_MISSING[^]*Set encryption of the checkpointer, [^]* to a key file with an identity/,
    follow: async (scene) => await scene.restart("b", { settings: await encrypting(scene) }),
  },
  {
    name: "checkpoint-plain",
    failure: "a checkpoint is from before the cluster had encryption",
    codes: ["PLAIN_REFUSED"],
    async break(scene) {
      await saveTwice(scene);
      await encrypting(scene);
      const archive = newestArchivePath(scene);
      return { output: await scene.runRefused(`checkpoint verify ${archive} --key-file cairn.key`) };
    },
    hint: /If it is from before the cluster had encryption, .* (--accept-plain) to the command/,
    async follow(scene, [, option = ""]) {
      await scene.runStep(`checkpoint verify ${newestArchivePath(scene)} --key-file cairn.key ${option}`);
    },
  },
  {
    name: "checkpoint-typo",
    failure: "a checkpoint's name is mistyped",
    codes: ["CHECKPOINT_NOT_FOUND"],
    async break(scene) {
      await saveTwice(scene);
      return { output: await scene.runRefused("checkpoint verify checkpoint-99-none") };
    },
    hint: /cairn (checkpoint list)/,
    async follow(scene, [, command = ""]) {
      const { stdout } = await scene.runStep(command);
      const [name = ""] = /checkpoint-\S+/.exec(stdout) ?? [];
      await scene.runStep(`checkpoint verify ${name}`);
    },
  },
  {
    name: "store-read-only",
    needsRoot: true,
    failure: "the checkpoint store is read-only",
    codes: ["STORE_DENIED"],
    async break(scene) {
      await smallDisk(scene, "checkpoints", 16);
      await scene.ready("a");
      await scene.fill("a", 1, 5);
      await remount(scene, "checkpoints", "ro");
      return { output: await scene.runRefused("checkpoint create") };
    },
    hint: /Mount it writable/,
    async follow(scene) {
      await scene.step("mount -o remount,rw", () => remount(scene, "checkpoints", "rw"));
      await scene.runStep("checkpoint create");
    },
  },
  {
    name: "store-full",
    needsRoot: true,
    failure: "the checkpoint store is full",
    codes: ["STORE_FULL"],
    async break(scene) {
      await smallDisk(scene, "checkpoints", 16);
      await scene.ready("a");
      await scene.fill("a", 1, 5);
      await fillDisk(scene, "checkpoints");
      await scene.runRefused("checkpoint create");
      return { status: "a" };
    },
    hint: /Free some space, raise the quota, or set/,
    async follow(scene) {
      await scene.step("remove an unrelated file", () => freeDisk(scene, "checkpoints"));
      await scene.runStep("checkpoint create");
    },
  },
  {
    name: "store-full-of-checkpoints",
    needsRoot: true,
    failure: "the checkpoint store is full of checkpoints, all of which are kept",
    codes: ["STORE_FULL"],
    async break(scene) {
      await smallDisk(scene, "checkpoints", 4);
      await scene.ready("a", { settings: keeping(undefined) });
      await scene.fillWith("a", 10, 100_000);
      for (let n = 1; (await scene.run("checkpoint create")).code === 0; n += 1) await scene.fill("a", n, n);
      return { status: "a" };
    },
    hint: /set a retention-policy that keeps fewer checkpoints: [^]* the next node that saves removes the others first/,
    async follow(scene) {
      await scene.restart("a", { settings: keeping(1) });
      await scene.node("a").ready();
      await scene.runStep("checkpoint create");
    },
  },
  {
    name: "store-full-of-segments",
    needsRoot: true,
    failure: "the checkpoint store is full of segments of the log backup",
    codes: ["STORE_FULL"],
    async break(scene) {
      await smallDisk(scene, "checkpoints", 4);
      const checkpointer = { "log-backup": { every: "PT0.3S" } };
      await scene.ready("a", { settings: { "cairn/index-store": { "kv-store": { checkpointer } } } });
      await scene.fillWith("a", 10, 100_000);
      for (const command of ["checkpoint create", "checkpoint verify"]) await scene.runStep(command);
      const seen = { isFull: false };
      while (!seen.isFull) {
        await scene.fillWith("a", 2, 100_000);
        await scene.waitForStatus("a", ({ logBackup }) => {
          seen.isFull = logBackup?.lastFailure?.code === "STORE_FULL";
          return seen.isFull || logBackup?.exposed.transactions === 0;
        });
      }
      return { status: "a" };
    },
    hint: /If segments of a log backup fill it, remove the oldest ones: .*?cairn (log backup prune).*? --through N, where N is at most the last transaction of a verified checkpoint \(.*?cairn (checkpoint list)/,
    async follow(scene, [, prune = "", list = ""]) {
      const { stdout } = await scene.run(`${list} --json`);
      const txId = Number(/"txId":\s*(\d+)/.exec(stdout)?.[1]);
      await scene.runStep(`${prune} --through ${txId}`);
      await scene.waitForStatus("a", ({ logBackup }) => logBackup?.lastFailure === null);
    },
  },
  {
    name: "checkpoint-running",
    failure: "a checkpoint is requested while another one is being saved",
    codes: ["CHECKPOINT_RUNNING"],
    async break(scene) {
      const node = await scene.ready("a");
      await scene.fillWith("a", 60, 100_000);
      const url = `${await node.url()}/api/v1/checkpoints`;
      // Whichever comes first begins to save.
      const answers = await Promise.all([1, 2].map(() => fetch(url, { method: "POST" })));
      return { output: (await Promise.all(answers.map((answer) => answer.text()))).join("") };
    },
    hint: /Wait until it has ended. The status shows its progress/,
    async follow(scene) {
      await scene.waitForStatus("a", ({ checkpoints }) => checkpoints.running === null);
      await scene.runStep("checkpoint create");
    },
  },
  {
    name: "store-unmounted",
    needsRoot: true,
    failure: "the volume of the checkpoint store is not mounted when a node joins",
    codes: ["STORE_UNREACHABLE"],
    async break(scene) {
      await volumeAt(scene, "checkpoints");
      await scene.ready("a");
      await scene.fill("a", 1, 5);
      await scene.run("checkpoint create");
      await scene.stop("a");
      await unmountVolume(scene, "checkpoints");
      await rm(scene.path("a", "a-index", "live"), { recursive: true });
      scene.start("a");
      return { status: "a" };
    },
    hint: /[Mm]ount it/,
    follow: async (scene) => await scene.step("mount the volume", () => mountVolume(scene, "checkpoints")),
  },
  {
    name: "same-node-id",
    failure: "two nodes have the same id",
    codes: [],
    async break(scene) {
      await scene.ready("a");
      await scene.ready("b", { env: { CAIRN_NODE_ID: "a" } });
      return { status: "a" };
    },
    hint: /Give each node its own id \(.*, CAIRN_NODE_ID\), and restart the one that has a new id,[^]* To see where both run: cairn status .*--cluster/,
    async follow(scene) {
      const { stdout } = await scene.runStep("status --cluster");
      if (!/a is the id of 2 nodes, on .* \(process \d+, /.test(stdout)) throw new Error(stdout);
      await scene.restart("b", { env: { CAIRN_NODE_ID: "b" } });
    },
  },
  {
    name: "stores-differ",
    failure: "one of two nodes saves into a store of its own",
    codes: [],
    async break(scene) {
      await scene.ready("a", { settings: sharing(scene, "checkpoints") });
      await scene.ready("b", { settings: sharing(scene, "others") });
      await saveUntilFound(scene, "stores-differ");
      return { status: "a" };
    },
    hint: /Give all nodes the same store, and restart those that have another one\.[^]* ends with the next look: cairn (checkpoint create)/,
    async follow(scene, [, command = ""]) {
      await scene.restart("b", { settings: sharing(scene, "checkpoints") });
      await scene.node("b").ready();
      await scene.runStep(command);
    },
  },
];
