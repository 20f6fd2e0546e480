import { rm } from "node:fs/promises";
import { ofNextVersion } from "@cairn/engine/testing";
import {
  changeBytes,
  fillDisk,
  indexFiles,
  freeDisk,
  remount,
  smallDisk,
  writeUntilFailure,
} from "../scene/damage.ts";
import { type BrokenCluster, byItself, pair } from "../scene/broken-cluster.ts";
import type { HintScene } from "../scene/hint-scene.ts";

/** Clusters in which a node, its index or its machine is broken. */
export const NODES: readonly BrokenCluster[] = [
  {
    name: "index-half",
    failure: "a volume was half restored: tables of the index are missing",
    codes: ["INDEX_CORRUPT"],
    async break(scene) {
      await pair(scene);
      await scene.run("checkpoint create");
      // A restart moves the written rows into tables.
      await scene.stop("b");
      await scene.ready("b");
      await scene.stop("b");
      for (const file of await indexFiles(scene, "b", /\.ldb$/)) await rm(file);
      await scene.ready("b");
      return { status: "b" };
    },
    // The node has rebuilt its index, from a checkpoint or from the log.
    hint: /^Moved aside /m,
    follow: byItself,
  },
  {
    name: "index-byte",
    failure: "a byte of the index was changed while its node was down",
    codes: ["INDEX_CORRUPT"],
    async break(scene) {
      await pair(scene);
      await scene.stop("b");
      for (const file of await indexFiles(scene, "b", /\.(ldb|log)$/)) await changeBytes(file);
      scene.start("b");
      return { log: "b", code: "INDEX_CORRUPT" };
    },
    hint: /The node builds a new index from a checkpoint and the log/,
    follow: byItself,
  },
  {
    name: "index-version",
    failure: "a node's index was written by another version of Cairn",
    codes: ["INDEX_VERSION"],
    async break(scene) {
      await pair(scene);
      await scene.stop("b");
      await ofNextVersion(scene.path("b", "b-index", "live"));
      await scene.ready("b");
      return { status: "b" };
    },
    hint: /^Moved aside /m,
    follow: byItself,
  },
  {
    name: "index-replaced",
    failure: "the files of a running node's index were removed",
    codes: ["INDEX_CORRUPT"],
    async break(scene) {
      await pair(scene);
      // If the first scrub misses files, the node builds its index anew by itself.
      await scene.waitForStatus("b", ({ index }) => index.lastScrub !== null);
      await rm(scene.path("b", "b-index", "live"), { recursive: true });
      return { status: "b" };
    },
    hint: /Stop the node and start it again\. It then rebuilds its index/,
    follow: async (scene) => await scene.restart("b"),
  },
  {
    name: "index-locked",
    failure: "a second node is started on the folders of the first",
    codes: ["INDEX_LOCKED"],
    async break(scene) {
      await scene.ready("a");
      const output = await scene.startRefused("b", { env: { CAIRN_INDEX_PATH: scene.path("a", "a-index") } });
      return { output };
    },
    hint: /Stop that node, or configure a different db-dir \(or CAIRN_INDEX_PATH\)/,
    async follow(scene) {
      await scene.restart("b", { env: { CAIRN_INDEX_PATH: scene.path("b", "own") } });
    },
  },
  {
    name: "disk-full",
    needsRoot: true,
    failure: "the disk of a node is full",
    codes: ["DISK_FULL"],
    async break(scene) {
      await smallDisk(scene, "a", 24);
      await scene.ready("a");
      await fillDisk(scene, "a");
      await writeUntilFailure(scene, "a");
      return { status: "a" };
    },
    // The disk is too small for a second index.
    remains: "DISK_FULL",
    hint: /Free some space; a running node then continues by itself/,
    follow: async (scene) => await scene.step("remove an unrelated file", () => freeDisk(scene, "a")),
  },
  {
    name: "disk-read-only",
    needsRoot: true,
    failure: "a node is started on a disk that is read-only",
    codes: ["CONFIG_INVALID"],
    async break(scene) {
      await smallDisk(scene, "a", 24);
      await remount(scene, "a", "ro");
      return { output: await scene.startRefused("a") };
    },
    // The disk is too small for a second index.
    remains: "DISK_FULL",
    hint: /The node did not start\..*\n.*Mount its file system writable, and start the node again\./,
    follow: async (scene) =>
      await scene.step("mount -o remount,rw, start the node", async () => {
        await remount(scene, "a", "rw");
        scene.start("a");
      }),
  },
  {
    name: "open-files",
    failure: "a node may open too few files",
    codes: ["SYSTEM_REFUSED"],
    async break(scene) {
      return { output: await scene.startRefused("a", { openFiles: 26 }) };
    },
    hint: /Raise the limit on open files \(ulimit -n, .*and run the command again/,
    follow: async (scene) => await scene.restart("a", { openFiles: 1024 }),
  },
  {
    name: "port-taken",
    failure: "another program uses a node's port",
    codes: ["PORT_IN_USE"],
    async break(scene) {
      const { port } = new URL(await (await scene.ready("a")).url());
      return { output: await scene.startRefused("b", { env: { CAIRN_HTTP_PORT: port } }) };
    },
    hint: /set another port with (CAIRN_HTTP_PORT) .* \(0 stands for any free port\)/,
    follow: async (scene, [, name = ""]) => await scene.restart("b", { env: { [name]: "0" } }),
  },
  {
    name: "node-frozen",
    failure: "a node is frozen",
    codes: [],
    async break(scene) {
      await pair(scene);
      scene.node("b").signal("SIGSTOP");
      return { output: await scene.runRefused("status", { on: "b" }) };
    },
    hint: /If the state is T, resume the process with kill -CONT PID/,
    follow: async (scene) =>
      await scene.step(`kill -CONT ${scene.node("b").pid}`, async () => scene.node("b").signal("SIGCONT")),
  },
  {
    name: "all-nodes-killed",
    failure: "all nodes of a log are dead",
    codes: ["NOT_READY"],
    async break(scene) {
      await pair(scene);
      await scene.run("checkpoint create");
      await Promise.all([scene.node("a").kill(), scene.node("b").kill()]);
      return {
        output: await silentCluster(
          scene,
          /^Log .* up to 6, .*\n^Store .* transaction 6, .*\n^Index .* up to 6$/m,
        ),
      };
    },
    hint: /Start the nodes as they were started: cairn start/,
    async follow(scene) {
      await scene.step("start both nodes", () => Promise.all([scene.ready("a"), scene.ready("b")]));
    },
  },
  {
    name: "all-nodes-frozen",
    failure: "all nodes of a log are frozen",
    codes: ["NOT_READY"],
    async break(scene) {
      await pair(scene);
      for (const id of ["a", "b"]) scene.node(id).signal("SIGSTOP");
      return { output: await silentCluster(scene, /^Log .* up to 6, /m) };
    },
    hint: /is stopped or frozen \(ps .*\), resume it \(kill -CONT (\d+)\)\. /,
    async follow(scene, [, pid]) {
      if (pid !== String(scene.node("a").pid)) throw new Error(`Process ${pid} is not that of node a.`);
      await scene.step("kill -CONT on both machines", async () => {
        for (const id of ["a", "b"]) scene.node(id).signal("SIGCONT");
      });
    },
  },
  {
    name: "all-nodes-cut-off",
    failure: "the server through which all nodes are asked is down",
    codes: ["LOG_UNREACHABLE"],
    async break(scene) {
      await pair(scene);
      await scene.nats.kill();
      return { output: await silentCluster(scene, /^Log +LOG_UNREACHABLE: /m) };
    },
    hint: /^LOG_UNREACHABLE: [^]*Make sure that nats-server is running(?![^]*end it)/,
    follow: async (scene) => await scene.step("start nats-server", () => scene.nats.start()),
  },
  {
    name: "all-nodes-killed-log-lost",
    failure: "all nodes of a log are dead, and the log is lost",
    codes: ["NOT_FOUND"],
    async break(scene) {
      await pair(scene);
      await scene.run("checkpoint create");
      await Promise.all([scene.node("a").kill(), scene.node("b").kill()]);
      await scene.operate(async (stream) => await stream.deleteStream());
      return { output: await silentCluster(scene, /^Log +NOT_FOUND: .*\n^Store .* transaction 6, /m) };
    },
    hint: /run .*cairn (log recover), which begins one that continues after transaction 6/,
    async follow(scene, [, recover = ""]) {
      await scene.runStep(recover);
      await scene.step("start both nodes", () => Promise.all([scene.ready("a"), scene.ready("b")]));
    },
  },
  {
    name: "not-ready",
    failure: "a node that waits for its log is asked for a document",
    codes: ["NOT_READY"],
    async break(scene) {
      await scene.ready("a");
      await scene.fill("a", 1, 3);
      await scene.stop("a");
      await scene.nats.stop();
      scene.start("a");
      return { output: await scene.runRefused("get things default/k1") };
    },
    hint: /Make sure that nats-server is running/,
    follow: async (scene) => await scene.step("start nats-server", () => scene.nats.start()),
  },
];

/** Returns what the first command of the night prints when no node responds. `shown` must be in it. */
async function silentCluster(scene: HintScene, shown: RegExp): Promise<string> {
  const { code, stdout, stderr } = await scene.run("status --cluster --timeout PT1S");
  if (code === 0 || !shown.test(stdout)) throw new Error(`cairn status --cluster: ${stdout}${stderr}`);
  return stderr;
}
