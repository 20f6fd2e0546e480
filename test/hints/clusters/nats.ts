import { writeFile } from "node:fs/promises";
import { type BrokenCluster, certificate } from "../scene/broken-cluster.ts";

const USERS = (permissions: string): string =>
  `authorization { users: [{ user: admin, password: let-me-in }, { user: node, password: n, permissions: { ${permissions} } }] }`;

const ADMIN = { "cairn/tx-log": { user: "admin", password: "let-me-in" } };

/** Clusters whose nodes and NATS server are configured differently. */
export const NATS: readonly BrokenCluster[] = [
  {
    name: "nats-password",
    failure: "a node has a wrong password for NATS",
    codes: ["LOG_UNREACHABLE"],
    nats: { config: USERS("") },
    async break(scene) {
      scene.start("a", { settings: { "cairn/tx-log": { user: "admin", password: "wrong" } } });
      return { status: "a" };
    },
    hint: /Check "user" and "password", or "token", of the log/,
    follow: async (scene) => await scene.restart("a", { settings: ADMIN }),
  },
  {
    name: "nats-rights",
    failure: "the log's user has no permission to write to it",
    codes: ["LOG_UNREACHABLE"],
    nats: { config: USERS('publish: { deny: ["cairn.tx"] }') },
    async break(scene) {
      await scene.ready("a", { settings: ADMIN });
      await scene.ready("b", { settings: { "cairn/tx-log": { user: "node", password: "n" } } });
      return { output: await scene.runRefused("tx put things default/a 1", { on: "b" }) };
    },
    hint: /does not permit this user to publish on cairn\.tx[^]*Permit the user of the log to publish to the log's subject/,
    async follow(scene) {
      await scene.step("give the permission in nats.conf, and restart nats-server", async () => {
        await writeFile(scene.path("nats.conf"), USERS(""));
        await scene.nats.stop();
        await scene.nats.start();
      });
    },
  },
  {
    name: "nats-nodes",
    failure: "no node has the permission to respond to the others",
    codes: ["NOT_READY"],
    nats: { config: USERS('subscribe: { deny: ["_CAIRN.nodes.>"] }') },
    async break(scene) {
      const a = await scene.ready("a", { settings: { "cairn/tx-log": { user: "node", password: "n" } } });
      const command = `status --cluster --url ${await a.url()} -j '${JSON.stringify(ADMIN)}'`;
      return { output: await scene.runRefused(command) };
    },
    hint: /responds by itself: a: [^]*permit their NATS user to subscribe to [^]*: _CAIRN/,
    async follow(scene) {
      await scene.step("give the permission in nats.conf, and restart nats-server", async () => {
        await writeFile(scene.path("nats.conf"), USERS(""));
        await scene.nats.stop();
        await scene.nats.start();
      });
    },
  },
  {
    name: "nats-authority",
    failure: "a node does not know the authority of the log's certificate",
    codes: ["LOG_UNREACHABLE"],
    nats: { args: ["--tls", "--tlscert", certificate("server"), "--tlskey", certificate("server-key")] },
    async break(scene) {
      scene.start("a", { settings: { "cairn/tx-log": { tls: true } } });
      return { status: "a" };
    },
    hint: /Set "ca-file" of the log's tls to the certificate of the authority/,
    async follow(scene) {
      const tls = { "ca-file": certificate("authority") };
      await scene.restart("a", { settings: { "cairn/tx-log": { tls } } });
    },
  },
];
