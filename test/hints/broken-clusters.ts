import path from "node:path";
import type { HintScene } from "./hint-scene.ts";

/** A cluster that is not well any more, and what its first hint asks for. */
export interface BrokenCluster {
  readonly failure: string;
  /** Further arguments of its nats-server. */
  readonly nats?: readonly string[];
  /** Breaks it. Answers where an operator looks: at a node's status, or what a command has said. */
  readonly break: (scene: HintScene) => Promise<{ readonly node: string } | { readonly said: string }>;
  /** Does what the hint says, word by word; `match` is what the pattern found in it. */
  readonly hint: RegExp;
  readonly follow: (scene: HintScene, match: RegExpExecArray) => Promise<unknown>;
}

async function pair(scene: HintScene): Promise<void> {
  await scene.ready("a");
  await scene.ready("b");
  await scene.fill("a", 1, 5);
}

/** All of them, by what is broken. */
export const BROKEN_CLUSTERS: readonly BrokenCluster[] = [
  {
    failure: "the log's server is down",
    async break(scene) {
      await pair(scene);
      await scene.nats.kill();
      return { node: "a" };
    },
    hint: /Check that the server runs/,
    follow: async (scene) => await scene.nats.start(),
  },
  {
    failure: "the log's stream is gone",
    async break(scene) {
      await pair(scene);
      await scene.ask("checkpoint create");
      await scene.atStream(async (stream) => await stream.deleteStream());
      return { node: "b" };
    },
    hint: /cairn (log recover --from checkpoint-\S+) begins one that goes on after it/,
    follow: async (scene, [, command = ""]) => await scene.type(command),
  },
  {
    failure: "the log was trimmed in front of a node, and no checkpoint holds it",
    async break(scene) {
      await pair(scene);
      await scene.stop("b");
      await scene.fill("a", 6, 12);
      await scene.atStream(async (stream) => await stream.purgeBefore(10));
      scene.start("b");
      return { node: "b" };
    },
    hint: /A ready node of this log can save one: cairn (checkpoint create)\./,
    follow: async (scene, [, command = ""]) => await scene.type(command, { on: "a" }),
  },
  {
    failure: "the log lost its end",
    async break(scene) {
      await pair(scene);
      await scene.nats.stop();
      await scene.copy("nats", "backup");
      await scene.nats.start();
      await scene.well();
      await scene.nats.stop();
      await scene.copy("backup", "nats");
      await scene.nats.start();
      return { node: "a" };
    },
    hint: /only in quarantine: cairn (log orphans)/,
    async follow(scene, [, command = ""]) {
      const { stdout } = await scene.type(command, { on: "a" });
      await scene.type("load -", { on: "a", input: stdout });
    },
  },
  {
    failure: "a setting of the stream lets it lose messages",
    async break(scene) {
      await pair(scene);
      await scene.atStream(async (stream) => await stream.edit({ max_msgs: 1_000, discard: "old" }));
      return { node: "a" };
    },
    hint: /nats stream edit cairn --discard=new/,
    // Both settings are told, one after the other.
    async follow(scene, [command]) {
      await scene.atStream(async (stream) => await stream.obey(command));
      await scene.until("a", /nats stream edit cairn --max-msgs=-1/, async (next) => {
        await scene.atStream(async (stream) => await stream.obey(next));
      });
    },
  },
  {
    failure: "a node stands still",
    async break(scene) {
      await pair(scene);
      scene.node("b").signal("SIGSTOP");
      return { said: (await scene.ask("status", { on: "b" })).stderr };
    },
    hint: /kill -CONT PID lets it go on/,
    follow: async (scene) => scene.node("b").signal("SIGCONT"),
  },
  {
    failure: "a command has no token",
    async break(scene) {
      scene.token = "let-me-in";
      await scene.ready("a");
      return { said: (await scene.type("status --token wrong")).stderr };
    },
    hint: /--token or CAIRN_AUTH_TOKEN/,
    follow: async (scene) => await scene.type(`status --token ${scene.token}`),
  },
  {
    failure: "the newest checkpoint is damaged",
    async break(scene) {
      await scene.ready("a");
      await scene.fill("a", 1, 5);
      await scene.ask("checkpoint create");
      await scene.fill("a", 6, 9);
      await scene.ask("checkpoint create");
      await scene.damageNewest();
      await scene.ready("c");
      return { said: (await scene.ask("status", { on: "c" })).stdout };
    },
    // What it passed over needs nobody.
    hint: /^Skipped +checkpoint-\S+: CHECKPOINT_CORRUPT/m,
    follow: async () => {},
  },
  {
    failure: "the disk of a node is full",
    async break(scene) {
      await scene.small("a", 24);
      await scene.ready("a");
      await scene.fillDisk("a");
      await scene.writeUntilRefused("a");
      return { node: "a" };
    },
    hint: /Free some space: a node goes on by itself then/,
    follow: async (scene) => await scene.makeRoom("a"),
  },
  {
    failure: "the checkpoint store is read-only",
    async break(scene) {
      await scene.small("checkpoints", 16);
      await scene.ready("a");
      await scene.fill("a", 1, 5);
      await scene.remount("checkpoints", "ro");
      return { said: (await scene.type("checkpoint create")).stderr };
    },
    hint: /or mount it writable/,
    async follow(scene) {
      await scene.remount("checkpoints", "rw");
      await scene.type("checkpoint create");
    },
  },
  {
    failure: "a volume was half restored: tables of the index are missing",
    async break(scene) {
      await pair(scene);
      await scene.ask("checkpoint create");
      await scene.stop("b");
      await scene.loseTables("b");
      await scene.ready("b");
      return { said: (await scene.ask("status", { on: "b" })).stdout };
    },
    // It has built its index anew, from a checkpoint or from the log.
    hint: /^Phase +ready/m,
    follow: async () => {},
  },
  {
    failure: "a node does not know the authority of the log's certificate",
    nats: ["--tls", "--tlscert", certificate("server"), "--tlskey", certificate("server-key")],
    async break(scene) {
      scene.start("a", { "cairn/tx-log": { tls: true } });
      return { node: "a" };
    },
    hint: /Give "ca-file" of the log's tls the certificate of the authority/,
    async follow(scene) {
      await scene.stop("a");
      scene.start("a", { "cairn/tx-log": { tls: { "ca-file": certificate("authority") } } });
    },
  },
];

/** One of the certificates that the tests of TLS use; found from the sources as from what is built of them. */
function certificate(name: string): string {
  const [root = ""] = import.meta.dirname.split(/\/test\/(?:dist\/)?hints$/);
  return path.join(root, "packages/node/test/log/nats/fixtures", `${name}.pem`);
}
