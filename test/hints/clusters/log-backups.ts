import { readdir, rename, rm, writeFile } from "node:fs/promises";
import { newIdentity } from "@cairn/checkpoint/testing";
import type { BrokenCluster } from "../scene/broken-cluster.ts";
import { changeBytes, copyFolder, filesBelow } from "../scene/damage.ts";
import type { HintScene, NodeStart } from "../scene/hint-scene.ts";

const FOLDER_STORE = "cairn.checkpoint/->filesystem-checkpoint-store";

const BACKS_UP: NodeStart = {
  settings: { "cairn/index-store": { "kv-store": { checkpointer: { "log-backup": { every: "PT0.3S" } } } } },
};

/** Starts node a, which backs its log up, and writes five documents, each of which has its own segment. */
async function backedUp(scene: HintScene, options = BACKS_UP): Promise<void> {
  await scene.ready("a", options);
  for (let n = 1; n <= 5; n += 1) {
    await scene.fill("a", n, n);
    await scene.waitForStatus("a", ({ logBackup }) => logBackup?.covered?.at(-1)?.last === n + 1);
  }
}

/** Returns the options of a node that reads the log from the backup, with a key file where `keyed` says so. */
function reading(scene: HintScene, ...keyed: readonly ("checkpointer" | "log")[]): NodeStart {
  const store = { "cairn/module": FOLDER_STORE, path: scene.path("checkpoints") };
  const keys = (of: (typeof keyed)[number]): object =>
    keyed.includes(of) ? { encryption: { "key-file": scene.path("cairn.key") } } : {};
  const restoring = { store: null, "approx-frequency": null, "restore-from": [store] };
  const checkpointer = { ...restoring, ...keys("checkpointer") };
  const log = { "cairn/module": "cairn.log-backup/->tx-log", store, every: "PT0.3S", ...keys("log") };
  return {
    settings: {
      "cairn/tx-log": log,
      "cairn/index-store": { "kv-store": { checkpointer } },
    },
    env: { NATS_URL: "", CAIRN_CHECKPOINT_PATH: "" },
  };
}

/**
 * Stops node a, and damages or removes the segment that ends with transaction 3. Removes the checkpoint that the node may
 * have saved by then, from which another node would join without the segment.
 */
async function damageSegment(scene: HintScene, damage = changeBytes): Promise<void> {
  await scene.stop("a");
  const checkpoints = (await readdir(scene.path("checkpoints"))).filter((name) =>
    name.startsWith("checkpoint-"),
  );
  for (const name of checkpoints) await rm(scene.path("checkpoints", name));
  const [file = ""] = await filesBelow(scene, "checkpoints", /-0*3-[0-9a-f]+\.segment$/);
  await damage(file);
}

/** Runs a command that the operator knows already, which must succeed. */
async function ran(scene: HintScene, command: string): Promise<void> {
  const { code, stderr } = await scene.run(command);
  if (code !== 0) throw new Error(`cairn ${command}: ${stderr}`);
}

/** Clusters whose log backup is broken, or used for an unsupported purpose. */
export const LOG_BACKUPS: readonly BrokenCluster[] = [
  {
    name: "log-read-only",
    failure: "a transaction is sent to a node that only reads",
    codes: ["LOG_READ_ONLY"],
    async break(scene) {
      await backedUp(scene);
      await scene.ready("r", reading(scene));
      return { output: await scene.runRefused("tx put things default/more 1", { on: "r" }) };
    },
    hint: /Send transactions to a node that has access to the log itself/,
    follow: async (scene) => await scene.runStep("tx put things default/more 1", { on: "a" }),
  },
  {
    name: "segment-damaged",
    failure: "a segment of the log backup is damaged, and a node reads it",
    codes: ["SEGMENT_CORRUPT"],
    async break(scene) {
      await backedUp(scene);
      await damageSegment(scene);
      scene.start("r", reading(scene));
      return { status: "r" };
    },
    hint: /The segment (\S+) is damaged[^]*Remove the file, and newest.json beside it: .* a node writes them again at its next look/,
    async follow(scene, [, file = ""]) {
      const pointer = file.replace(/[^/]+$/, "newest.json");
      for (const name of [file, pointer])
        await scene.step(`rm ${name}`, async () => await rm(scene.path("checkpoints", name)));
      await scene.ready("a", BACKS_UP);
    },
  },
  {
    name: "reader-without-key",
    failure: "the log backup is encrypted, and a node that reads it has the key file only for checkpoints",
    codes: ["KEY_MISSING"],
    async break(scene) {
      await writeFile(scene.path("cairn.key"), `${newIdentity()}\n`);
      const encryption = { "key-file": scene.path("cairn.key") };
      const checkpointer = { encryption, "log-backup": { every: "PT0.3S" } };
      await backedUp(scene, { settings: { "cairn/index-store": { "kv-store": { checkpointer } } } });
      scene.start("r", reading(scene, "checkpointer"));
      return { status: "r" };
    },
    hint: /KEY_MISSING[^]*of cairn\/tx-log as well if the log is read from a backup, [^]* restart the node/,
    follow: async (scene) => await scene.restart("r", reading(scene, "checkpointer", "log")),
  },
  {
    name: "backup-hole",
    failure: "the log backup lacks a segment, and a node reads it",
    codes: [],
    async break(scene) {
      await backedUp(scene);
      await damageSegment(scene, rm);
      scene.start("r", reading(scene));
      return { status: "r" };
    },
    hint: /lacks transactions before message 4[^]*save a checkpoint on a ready node of this log: cairn (checkpoint create)[^]*cairn (log backup verify)/,
    async follow(scene, [, create = "", verify = ""]) {
      scene.steps.push(`cairn ${verify}`);
      const { stdout } = await scene.runPrinted(verify, "r");
      if (!stdout.includes("Transaction 3 is missing in the log backup")) throw new Error(stdout);
      await scene.ready("a", BACKS_UP);
      await scene.runStep(create, { on: "a" });
    },
  },
  {
    name: "segment-damaged-log-trimmed",
    failure: "the log was trimmed, and the only segment with the trimmed transactions is damaged",
    codes: ["SEGMENT_CORRUPT"],
    async break(scene) {
      await backedUp(scene);
      await scene.operate(async (stream) => await stream.purgeBefore(4));
      await damageSegment(scene);
      scene.start("b");
      return { status: "b" };
    },
    hint: /SEGMENT_CORRUPT[^]*save a checkpoint beyond it on a ready node: cairn (checkpoint create)/,
    async follow(scene, [, command = ""]) {
      await scene.ready("a", BACKS_UP);
      await scene.runStep(command, { on: "a" });
    },
  },
  {
    name: "backup-begins-at-checkpoint",
    failure: "an index is to be rebuilt from a log backup that begins at the only checkpoint",
    codes: ["CHECKPOINT_NOT_FOUND"],
    async break(scene) {
      await backedUp(scene);
      await scene.runStep("checkpoint create", { on: "a" });
      await ran(scene, "checkpoint verify");
      await ran(scene, "log backup prune --through 5");
      return { output: await scene.runRefused("log backup verify --rebuild") };
    },
    hint: /No index can be built[^]*After the next transaction, save a checkpoint with [^]*cairn (checkpoint create) [^]*, and run the command again/,
    async follow(scene, [, create = ""]) {
      await scene.fill("a", 6, 6);
      await scene.runStep(create, { on: "a" });
      await scene.waitForStatus("a", ({ logBackup }) => logBackup?.covered?.at(-1)?.last === 7);
      await scene.step("run the command again", () => ran(scene, "log backup verify --rebuild"));
    },
  },
  {
    name: "backup-without-a-checkpoint",
    failure: "a log backup of an embedded log is to be pruned, but no verified checkpoint replaces it",
    codes: ["CONFLICT"],
    async break(scene) {
      scene.shared["NATS_URL"] = "";
      await backedUp(scene);
      await scene.stop("a");
      return { output: await scene.runRefused("log backup prune --through 5") };
    },
    hint: /While a node runs, save a checkpoint \([^]*cairn (checkpoint create)[^]*\)\. Then verify it \([^]*cairn (checkpoint verify)[^]*\), and run the command again; with an embedded log, stop the node before these two/,
    async follow(scene, [, create = "", verify = ""]) {
      await scene.ready("a", BACKS_UP);
      await scene.runStep(create, { on: "a" });
      await scene.step(`stop the node, cairn ${verify}, and run the command again`, async () => {
        await scene.stop("a");
        const { code, stderr } = await scene.runPrinted(verify);
        if (code !== 0) throw new Error(stderr);
        await ran(scene, "log backup prune --through 5");
      });
      await scene.ready("a", BACKS_UP);
    },
  },
  {
    name: "log-shorter-than-backup",
    failure: "a machine with an embedded log was rolled back, but its store, with a log backup, was not",
    codes: ["LOG_REGRESSED"],
    async break(scene) {
      scene.shared["NATS_URL"] = "";
      await backedUp(scene);
      await scene.stop("a");
      await copyFolder(scene, "a", "copy");
      await scene.ready("a", BACKS_UP);
      await scene.fill("a", 6, 7);
      await ran(scene, "checkpoint create");
      await scene.fill("a", 8, 9);
      await scene.waitForStatus("a", ({ logBackup }) => logBackup?.covered?.at(-1)?.last === 10);
      await scene.stop("a");
      await rm(scene.path("a"), { recursive: true });
      await rename(scene.path("copy"), scene.path("a"));
      await scene.ready("a", BACKS_UP);
      await scene.fill("a", 10, 10);
      await scene.waitForStatus("a", ({ log }) => log.warnings.length > 0);
      return { status: "a" };
    },
    hint: /move the log's folder away\), run (?:[A-Z_]+=\S+ )*cairn log recover -j CONFIGURATION (--at-tx 10) \(if it is refused because of what was written since, add (--yes)\), and start the nodes.* cairn (log orphans) -j CONFIGURATION on each of them, and load it again \(cairn (load) --url URL FILE\)/,
    async follow(scene, [, point = "", yes = "", print = "", load = ""]) {
      const recover = `log recover ${point}`;
      await scene.step(`stop the node, mv a-log away, cairn ${recover}, and again with ${yes}`, async () => {
        await scene.stop("a");
        await rename(scene.path("a", "a-log"), scene.path("away"));
        const refused = await scene.runPrinted(recover);
        if (!refused.stderr.includes("CONFLICT")) throw new Error(`not refused: ${refused.stderr}`);
        const { code, stderr } = await scene.runPrinted(`${recover} ${yes}`);
        if (code !== 0) throw new Error(stderr);
      });
      await scene.ready("a", BACKS_UP);
      await scene.step(`stop the node, cairn ${print} > FILE, start it, cairn ${load} FILE`, async () => {
        await scene.stop("a");
        await writeFile(scene.path("FILE"), (await scene.runPrinted(print)).stdout);
        await scene.ready("a", BACKS_UP);
        await ran(scene, `${load} FILE`);
      });
      for (let n = 1; n <= 10; n += 1) await ran(scene, `get things default/k${n}`);
    },
  },
];
