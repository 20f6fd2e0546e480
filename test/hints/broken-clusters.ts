import { readdir } from "node:fs/promises";
import type { HintScene } from "./hint-scene.ts";

/** A cluster that is not well any more, and what its first hint asks for. */
export interface BrokenCluster {
  readonly failure: string;
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

const MEMBERS: readonly BrokenCluster[] = [
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
    failure: "two nodes have one id",
    async break(scene) {
      await scene.ready("a", {
        "cairn/index-store": { "kv-store": { checkpointer: { "approx-frequency": "PT1S" } } },
      });
      return { node: "a" };
    },
    hint: /CAIRN_NODE_ID/,
    follow: async () => {},
  },
];

/** All of them, by what is broken. */
export const BROKEN_CLUSTERS: readonly BrokenCluster[] = MEMBERS.slice(0, 5);

/** The checkpoints that lie in the scene's store. */
export async function checkpointsIn(scene: HintScene): Promise<string[]> {
  return (await readdir(scene.path("checkpoints"))).filter((name) => name.endsWith(".json"));
}
