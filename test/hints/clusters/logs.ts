import { copyFile, rename, rm, stat, truncate, writeFile } from "node:fs/promises";
import { testS3 } from "@cairn/localstack";
import { newestArchive } from "@cairn/test-support/watched-store";
import { changeBytes, copyFolder, filesBelow } from "../scene/damage.ts";
import { type BrokenCluster, pair } from "../scene/broken-cluster.ts";
import type { HintScene, NodeStart } from "../scene/hint-scene.ts";

/** Both the failure and the warning about a gap begin with the same step. */
const CHECKPOINT_BEYOND_GAP = {
  codes: ["LOG_GAP"],
  // The stream counts the deleted message as long as it has messages before it.
  remains: "LOG_GAP",
  hint: /Save a checkpoint beyond the gap on a ready node of this log: cairn (checkpoint create) --url URL/,
  follow: async (scene, [, command = ""]) => await scene.runStep(command, { on: "a" }),
} satisfies Partial<BrokenCluster>;

/** Starts node b while a message is missing that node a has read. */
async function deleteInside(scene: HintScene): Promise<void> {
  await scene.operate(async (stream) => {
    await stream.makeDeletable();
    await stream.edit({ discard: "new" });
  });
  await scene.ready("a");
  await scene.fill("a", 1, 5);
  await scene.operate(async (stream) => {
    await stream.deleteMessage(3);
    await stream.obey("nats stream edit cairn --deny-delete");
  });
  // Otherwise, the node would warn for half a minute that messages can be deleted.
  await scene.stop("a");
  await scene.ready("a");
  scene.start("b");
}

/** Nodes save a first checkpoint within half a minute after their start. */
const STORE_FIRST = {
  hint: /^This node has no checkpoint store in common with other nodes: configure one that all nodes of this log share \((CAIRN_CHECKPOINT_PATH)=FOLDER/m,
  async follow(scene, [, variable = ""]) {
    delete scene.shared["CAIRN_CHECKPOINT_PATH"];
    for (const id of ["a", "b"]) await scene.restart(id, { env: { [variable]: scene.path("FOLDER") } });
  },
} satisfies Partial<BrokenCluster>;

/** Returns the options of a node that saves to S3, of which the configuration names only the bucket. */
async function inS3(scene: HintScene): Promise<NodeStart> {
  const { bucket, endpoint, region, credentials, close } = await testS3();
  scene.onClose(close);
  const keys = scene.path("aws-keys");
  const { accessKeyId: id, secretAccessKey: secret } = credentials;
  await writeFile(keys, `[default]\naws_access_key_id=${id}\naws_secret_access_key=${secret}\n`);
  const prefix = `hints/${process.pid}-${Date.now()}`;
  const store = { "cairn/module": "cairn.s3/->checkpoint-store", bucket, prefix };
  return {
    settings: { "cairn/index-store": { "kv-store": { checkpointer: { store } } } },
    env: {
      CAIRN_CHECKPOINT_PATH: "",
      AWS_ENDPOINT_URL_S3: endpoint,
      AWS_REGION: region,
      AWS_SHARED_CREDENTIALS_FILE: keys,
    },
  };
}

/** Clusters whose log is broken. */
export const LOGS: readonly BrokenCluster[] = [
  {
    name: "log-down",
    failure: "the log's server is down",
    codes: ["LOG_UNREACHABLE"],
    async break(scene) {
      await pair(scene);
      await scene.nats.kill();
      return { status: "a" };
    },
    hint: /Make sure that the server is running/,
    follow: async (scene) => await scene.step("start nats-server", () => scene.nats.start()),
  },
  {
    name: "log-gone",
    failure: "the log's stream is gone",
    codes: ["LOG_DIFFERENT"],
    async break(scene) {
      await pair(scene);
      await scene.run("checkpoint create");
      await scene.operate(async (stream) => await stream.deleteStream());
      // A checkpoint round may detect a moment earlier that the stream is missing.
      await scene.waitForStatus("b", ({ failure }) => failure !== null);
      return { status: "b" };
    },
    hint: /run (?:[A-Z_]+=\S+ )*cairn (log recover), which begins one that continues after transaction 6/,
    follow: async (scene, [, command = ""]) => await scene.runStep(command),
  },
  {
    name: "log-gone-store-in-s3",
    failure: "the log's stream is gone, and the environment names the S3 service of the checkpoints",
    codes: ["LOG_DIFFERENT"],
    async break(scene) {
      await scene.ready("a", await inS3(scene));
      await scene.fill("a", 1, 5);
      await scene.run("checkpoint create");
      await scene.operate(async (stream) => await stream.deleteStream());
      await scene.waitForStatus("a", ({ failure }) => failure !== null);
      return { status: "a" };
    },
    hint: /run (?:\w+=\S+ )*cairn (log recover) -j CONFIGURATION, which begins one/,
    follow: async (scene, [, command = ""]) => await scene.runStep(command),
  },
  {
    name: "log-gone-checkpoint-cut",
    failure: "the log's stream is gone, and the archive of its only checkpoint was truncated",
    codes: ["LOG_DIFFERENT", "CHECKPOINT_INCOMPLETE"],
    async break(scene) {
      await pair(scene);
      await scene.run("checkpoint create");
      await Promise.all([scene.stop("a"), scene.stop("b")]);
      await scene.operate(async (stream) => await stream.deleteStream());
      const archive = newestArchive(scene.path("checkpoints"));
      await copyFile(scene.path("checkpoints", archive), scene.path(archive));
      await truncate(scene.path("checkpoints", archive), 1_000);
      scene.start("c");
      await scene.waitForStatus("c", ({ failure }) => failure !== null);
      return { status: "c" };
    },
    hint: /make (checkpoint-\S+) usable \(CHECKPOINT_INCOMPLETE: .* unfinished copies.*\), and run (?:[A-Z_]+=\S+ )*cairn (log recover)/,
    async follow(scene, [, checkpoint = "", command = ""]) {
      const archive = `${checkpoint}.tar`;
      await scene.step("copy the archive again", () =>
        copyFile(scene.path(archive), scene.path("checkpoints", archive)),
      );
      await scene.runStep(command);
    },
  },
  {
    name: "log-trimmed",
    failure: "the log was trimmed beyond a node's index, and no checkpoint contains the trimmed part",
    codes: ["LOG_TRIMMED"],
    async break(scene) {
      await pair(scene);
      await scene.stop("b");
      await scene.fill("a", 6, 12);
      await scene.operate(async (stream) => await stream.purgeBefore(10));
      scene.start("b");
      return { status: "b" };
    },
    // If the ready node has already saved a checkpoint by itself, nothing is left to do.
    hint: /Or save a checkpoint on a ready node of this log: cairn (checkpoint create) --url URL|^Moved aside .*LOG_TRIMMED/m,
    async follow(scene, [, command]) {
      if (command !== undefined) await scene.runStep(command, { on: "a" });
    },
  },
  {
    name: "log-trimmed-without-store",
    failure: "the log was trimmed beyond a node's index, and each node has its own checkpoint store",
    codes: ["LOG_TRIMMED"],
    async break(scene) {
      scene.shared["CAIRN_CHECKPOINT_PATH"] = "";
      await pair(scene);
      await scene.stop("b");
      await scene.fill("a", 6, 12);
      await scene.operate(async (stream) => await stream.purgeBefore(10));
      scene.start("b");
      return { status: "b" };
    },
    ...STORE_FIRST,
  },
  {
    name: "log-hole-without-store",
    failure: "a message inside the log was deleted, and each node has its own checkpoint store",
    codes: ["LOG_GAP"],
    async break(scene) {
      scene.shared["CAIRN_CHECKPOINT_PATH"] = "";
      await deleteInside(scene);
      return { status: "b" };
    },
    remains: "LOG_GAP",
    ...STORE_FIRST,
  },
  {
    name: "log-hole-warning-without-store",
    failure:
      "a message inside the log was deleted, and the node that has it warns, and has its own checkpoint store",
    codes: ["LOG_GAP"],
    async break(scene) {
      scene.shared["CAIRN_CHECKPOINT_PATH"] = "";
      await deleteInside(scene);
      return { status: "a" };
    },
    remains: "LOG_GAP",
    ...STORE_FIRST,
  },
  {
    name: "log-hole",
    failure: "a message inside the log was deleted",
    async break(scene) {
      await deleteInside(scene);
      return { status: "b" };
    },
    ...CHECKPOINT_BEYOND_GAP,
  },
  {
    name: "log-hole-warning",
    failure: "a message inside the log was deleted, and the node that has it warns",
    async break(scene) {
      await deleteInside(scene);
      return { status: "a" };
    },
    ...CHECKPOINT_BEYOND_GAP,
  },
  {
    name: "log-hole-everywhere",
    failure: "a message inside the log was deleted that no node and no checkpoint has",
    codes: ["LOG_GAP"],
    remains: "LOG_GAP",
    async break(scene) {
      await scene.operate(async (stream) => {
        await stream.makeDeletable();
        await stream.edit({ discard: "new" });
      });
      await pair(scene);
      // Behind a node that has nothing after it, the log gets messages, of which it then lacks one.
      await scene.stop("b");
      await scene.fill("a", 6, 9);
      await scene.stop("a");
      await scene.operate(async (stream) => {
        await stream.deleteMessage(8);
        await stream.obey("nats stream edit cairn --deny-delete");
      });
      for (const gone of ["a", "checkpoints"]) await rm(scene.path(gone), { recursive: true, force: true });
      for (const id of ["a", "b"]) scene.start(id);
      await scene.waitForStatus("b", ({ failure }) => failure?.code === "LOG_GAP");
      return { status: "b" };
    },
    hint: /give up the missing messages \((?:cd \S+ && )?(?:\w+=\S+ )*cairn (log recover --over-gap)/,
    async follow(scene, [, command = ""]) {
      await scene.runStep(command, { on: "b" });
      await Promise.all([scene.node("a").ready(), scene.node("b").ready()]);
      // The transaction that is lost put k7.
      for (const [name, isKept] of [
        ["k6", true],
        ["k7", false],
        ["k9", true],
      ] as const) {
        const { code } = await scene.run(`get things default/${name}`);
        if ((code === 0) !== isKept) throw new Error(`${name} is ${isKept ? "missing" : "there"}`);
      }
    },
  },
  {
    name: "log-lost-end",
    failure: "the log lost its end",
    codes: ["LOG_REGRESSED"],
    async break(scene) {
      await pair(scene);
      await scene.nats.stop();
      await copyFolder(scene, "nats", "backup");
      await scene.nats.start();
      await scene.waitUntilHealthy();
      await scene.nats.stop();
      await copyFolder(scene, "backup", "nats");
      await scene.nats.start();
      await scene.waitForLog("a");
      return { status: "a" };
    },
    hint: /cairn (log orphans) > FILE \(.*?\)\. Review the file, and submit them again \(cairn (load) --url URL FILE\)/,
    async follow(scene, [, print = "", submit = ""]) {
      const { stdout } = await scene.runStep(print);
      await writeFile(scene.path("FILE"), stdout);
      await scene.runStep(`${submit} FILE`);
      const { stdout: found } = await scene.run("get things default/well-a");
      if (found.trim() !== "1") throw new Error(`the lost document was not restored: ${found}`);
    },
  },
  {
    name: "log-full",
    failure: "the log's stream is full",
    codes: ["LOG_FULL"],
    async break(scene) {
      await pair(scene);
      await scene.operate(async (stream) => await stream.edit({ max_msgs: 6, discard: "new" }));
      return { output: await scene.runRefused("tx put things default/more 1") };
    },
    hint: /nats stream edit cairn --max-msgs=-1/,
    follow: async (scene, [command]) =>
      await scene.step(command, () => scene.operate((stream) => stream.obey(command))),
  },
  {
    name: "log-full-of-young-messages",
    failure: "the log's stream is full of messages that its nodes keep",
    codes: ["LOG_FULL"],
    async break(scene) {
      const store = {
        "cairn/module": "cairn.checkpoint/->filesystem-checkpoint-store",
        path: scene.path("checkpoints"),
        "shared-store": true,
      };
      const settings = {
        "cairn/tx-log": { trim: { keep: "P1D" } },
        "cairn/index-store": { "kv-store": { checkpointer: { store } } },
      };
      await scene.ready("a", { settings, env: { CAIRN_CHECKPOINT_PATH: "" } });
      await scene.fill("a", 1, 5);
      for (const command of ["create", "verify"]) await scene.run(`checkpoint ${command}`);
      await scene.operate(async (stream) => await stream.edit({ max_msgs: 6, discard: "new" }));
      return { output: await scene.runRefused("tx put things default/more 1") };
    },
    hint: /cairn (log trim) -j CONFIGURATION (--keep PT0S)/,
    async follow(scene, [, command = "", options = ""]) {
      const { stdout } = await scene.runStep(`${command} ${options}`);
      if (!stdout.startsWith("trimmed messages 1 to 5 ")) throw new Error(stdout);
    },
  },
  {
    name: "log-other",
    failure: "a node of a cluster was started without the address of its log",
    codes: ["LOG_DIFFERENT"],
    async break(scene) {
      await scene.ready("a");
      await scene.fill("a", 1, 3);
      await scene.run("checkpoint create");
      await scene.ready("b", { env: { NATS_URL: "" } });
      return { status: "b" };
    },
    hint: /NATS_URL/,
    follow: async (scene) => await scene.restart("b", { env: { NATS_URL: scene.nats.url } }),
  },
  {
    name: "embedded-log-damaged",
    failure: "an embedded log is damaged, and a copy of its folder exists",
    codes: ["LOG_GAP"],
    async break(scene) {
      scene.shared["NATS_URL"] = "";
      await scene.ready("a");
      await scene.fill("a", 1, 5);
      await scene.stop("a");
      await copyFolder(scene, "a/a-log", "copy");
      for (const file of await filesBelow(scene, "a/a-log", /\.(log|ldb)$/)) await changeBytes(file);
      scene.start("a");
      return { status: "a" };
    },
    hint: /Restore the folder from a copy and restart the node/,
    async follow(scene) {
      await scene.step("restore the log's folder from its copy", () => copyFolder(scene, "copy", "a/a-log"));
      await scene.restart("a");
    },
  },
  {
    name: "embedded-log-moved",
    failure: "the folder of an embedded log was moved away",
    codes: ["LOG_DIFFERENT"],
    async break(scene) {
      scene.shared["NATS_URL"] = "";
      await scene.ready("a");
      await scene.fill("a", 1, 5);
      await scene.stop("a");
      await rename(scene.path("a", "a-log"), scene.path("away"));
      scene.start("a");
      await scene.waitForStatus("a", ({ failure }) => failure?.retries === false);
      return { status: "a" };
    },
    hint: /If the folder was moved, put it back, and restart the node/,
    async follow(scene) {
      await scene.step("mv away a-log", () => rename(scene.path("away"), scene.path("a", "a-log")));
      await scene.restart("a");
    },
  },
  {
    name: "embedded-log-lost-end",
    failure: "an embedded log lost its end",
    codes: ["LOG_REGRESSED", "INDEX_LOCKED"],
    async break(scene) {
      scene.shared["NATS_URL"] = "";
      await scene.ready("a");
      await scene.fill("a", 1, 5);
      await scene.stop("a");
      for (const file of await filesBelow(scene, "a/a-log", /\.log$/))
        await truncate(file, Math.max(0, (await stat(file)).size - 10));
      await scene.ready("a");
      return { status: "a" };
    },
    hint: /cairn (log orphans) > FILE \(if the log is embedded, stop the node for that, and start it again\)\. Review the file, and submit them again \(cairn (load) --url URL FILE\)/,
    async follow(scene, [, print = "", submit = ""]) {
      const refused = await scene.runRefused(print);
      if (!refused.includes("To run this command, stop the node")) throw new Error(refused);
      await scene.step(`stop the node, cairn ${print} > FILE, start the node`, async () => {
        await scene.stop("a");
        await writeFile(scene.path("FILE"), (await scene.runPrinted(print)).stdout);
        await scene.ready("a");
      });
      await scene.runStep(`${submit} FILE`);
      const { stdout: found } = await scene.run("get things default/k5");
      if ((JSON.parse(found) as { n: number }).n !== 5)
        throw new Error(`the lost document was not restored: ${found}`);
    },
  },
  {
    name: "log-shorter-than-checkpoint",
    failure: "an embedded log lost its end, and the index that had it is gone as well",
    codes: ["LOG_REGRESSED"],
    async break(scene) {
      scene.shared["NATS_URL"] = "";
      await scene.ready("a");
      await scene.fill("a", 1, 5);
      await scene.run("checkpoint create");
      await scene.stop("a");
      for (const file of await filesBelow(scene, "a/a-log", /\.log$/))
        await truncate(file, Math.max(0, (await stat(file)).size - 10));
      await rm(scene.path("a", "a-index"), { recursive: true });
      await scene.ready("a");
      await scene.fill("a", 6, 6);
      await scene.waitForStatus("a", ({ log }) => log.warnings.length > 0);
      return { status: "a" };
    },
    hint: /remove the log \(.*?move the log's folder away\), run (?:[A-Z_]+=\S+ )*cairn (log recover --from \S+) \(if it is refused because of what was written since, add (--yes)\), and start the nodes.* cairn (log orphans) on each of them, and load it again \(cairn (load) --url URL FILE\)/,
    async follow(scene, [, recover = "", yes = "", print = "", load = ""]) {
      await scene.step(`stop the node, mv a-log away, cairn ${recover}, and again with ${yes}`, async () => {
        await scene.stop("a");
        await rename(scene.path("a", "a-log"), scene.path("away"));
        await scene.runRefused(recover);
        await scene.run(`${recover} ${yes}`);
      });
      await scene.ready("a");
      await scene.step(
        `stop the node, cairn ${print} > FILE, start the node, cairn ${load} FILE`,
        async () => {
          await scene.stop("a");
          await writeFile(scene.path("FILE"), (await scene.runPrinted(print)).stdout);
          await scene.ready("a");
          await scene.run(`${load} FILE`);
        },
      );
      for (const n of [5, 6]) {
        const { stdout: found } = await scene.run(`get things default/k${n}`);
        if ((JSON.parse(found) as { n: number }).n !== n) throw new Error(`k${n} was not restored: ${found}`);
      }
    },
  },
  {
    name: "old-copy-of-a-log",
    failure: "a machine with an embedded log was rolled back to before its log was lost and continued",
    codes: ["LOG_DIFFERENT"],
    async break(scene) {
      scene.shared["NATS_URL"] = "";
      await scene.ready("a");
      await scene.fill("a", 1, 3);
      await scene.stop("a");
      await copyFolder(scene, "a", "copy");
      await rm(scene.path("a", "a-log"), { recursive: true });
      await scene.run("log recover");
      await scene.ready("a");
      await scene.fill("a", 4, 5);
      await scene.run("checkpoint create");
      await scene.stop("a");
      await rm(scene.path("a"), { recursive: true });
      await rename(scene.path("copy"), scene.path("a"));
      scene.start("a");
      await scene.waitForStatus("a", ({ failure }) => failure?.retries === false);
      return { status: "a" };
    },
    hint: /stop the node, move this log's folder away, and keep it, run (?:[A-Z_]+=\S+ )*cairn (log recover --log \S+), and restart the nodes/,
    async follow(scene, [, recover = ""]) {
      await scene.step("stop the node, mv a-log away", async () => {
        await scene.stop("a");
        await rename(scene.path("a", "a-log"), scene.path("away"));
      });
      await scene.runStep(recover);
      await scene.ready("a");
      const { stdout: found } = await scene.run("get things default/k5");
      if ((JSON.parse(found) as { n: number }).n !== 5) throw new Error(`k5 was not restored: ${found}`);
    },
  },
  {
    name: "log-unsafe",
    failure: "settings of the log's stream can make it lose messages",
    codes: ["LOG_UNSAFE"],
    async break(scene) {
      await scene.ready("a");
      await scene.operate(async (stream) => await stream.edit({ discard: "old" }));
      await scene.ready("b");
      return { status: "b" };
    },
    hint: /nats stream edit cairn --discard=new/,
    follow: async (scene, [command]) =>
      await scene.step(command, () => scene.operate((stream) => stream.obey(command))),
  },
];
