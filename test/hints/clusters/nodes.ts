import { rm } from "node:fs/promises";
import { ofNextVersion } from "@cairn/engine/testing";
import {
  changeBytes,
  fillDisk,
  indexFiles,
  freeDisk,
  smallDisk,
  writeUntilFailure,
} from "../scene/damage.ts";
import { type BrokenCluster, byItself, pair } from "../scene/broken-cluster.ts";

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
    hint: /Free some space: a running node then continues by itself/,
    follow: async (scene) => await scene.step("remove an unrelated file", () => freeDisk(scene, "a")),
  },
  {
    name: "open-files",
    failure: "a node may open too few files",
    codes: ["SYSTEM_REFUSED"],
    async break(scene) {
      return { output: await scene.startRefused("a", { openFiles: 48 }) };
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
