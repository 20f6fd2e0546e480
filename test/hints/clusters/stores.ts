import { rm, truncate } from "node:fs/promises";
import {
  changeBytes,
  fillDisk,
  makeRoom,
  mountVolume,
  newestArchive,
  remount,
  smallDisk,
  unmountVolume,
  volumeAt,
} from "../scene/damage.ts";
import { type BrokenCluster, byItself } from "../scene/broken-cluster.ts";
import type { HintScene } from "../scene/hint-scene.ts";

/** Two checkpoints. */
async function saved(scene: HintScene): Promise<void> {
  await scene.ready("a");
  await scene.fill("a", 1, 5);
  await scene.ask("checkpoint create");
  await scene.fill("a", 6, 9);
  await scene.ask("checkpoint create");
}

/** Both nodes save, one after the other, until the first has noticed the other: what is older than its own start tells it nothing. */
async function eachSaves(scene: HintScene): Promise<void> {
  for (let n = 1; (await scene.node("a").status()).checkpoints.warnings.length === 0; n += 1) {
    for (const id of ["b", "a"]) {
      await scene.fill(id, n, n);
      await scene.ask("checkpoint create", { on: id });
    }
  }
}

/** What happens to checkpoints and where they lie. */
export const STORES: readonly BrokenCluster[] = [
  {
    name: "checkpoint-damaged",
    failure: "the newest checkpoint is damaged",
    codes: ["CHECKPOINT_CORRUPT"],
    async break(scene) {
      await saved(scene);
      await changeBytes(await newestArchive(scene));
      await scene.ready("c");
      return { status: "c" };
    },
    // What it passed over needs nobody.
    hint: /^Skipped +checkpoint-\S+: CHECKPOINT_CORRUPT/m,
    follow: byItself,
  },
  {
    name: "checkpoint-cut",
    failure: "the newest checkpoint's archive was cut",
    codes: ["CHECKPOINT_INCOMPLETE"],
    async break(scene) {
      await saved(scene);
      await truncate(await newestArchive(scene), 1_000);
      await scene.ready("c");
      return { status: "c" };
    },
    hint: /^Skipped +checkpoint-\S+: CHECKPOINT_INCOMPLETE/m,
    follow: byItself,
  },
  {
    name: "checkpoint-typo",
    failure: "a checkpoint's name is mistyped",
    codes: ["CHECKPOINT_NOT_FOUND"],
    async break(scene) {
      await saved(scene);
      return { said: await scene.refusal("checkpoint verify checkpoint-99-none") };
    },
    hint: /cairn (checkpoint list)/,
    async follow(scene, [, command = ""]) {
      const { stdout } = await scene.does(command);
      const [name = ""] = /checkpoint-\S+/.exec(stdout) ?? [];
      await scene.does(`checkpoint verify ${name}`);
    },
  },
  {
    name: "store-read-only",
    failure: "the checkpoint store is read-only",
    codes: ["STORE_DENIED"],
    async break(scene) {
      await smallDisk(scene, "checkpoints", 16);
      await scene.ready("a");
      await scene.fill("a", 1, 5);
      await remount(scene, "checkpoints", "ro");
      return { said: await scene.refusal("checkpoint create") };
    },
    hint: /or mount it writable/,
    async follow(scene) {
      await scene.act("mount -o remount,rw", () => remount(scene, "checkpoints", "rw"));
      await scene.does("checkpoint create");
    },
  },
  {
    name: "store-full",
    failure: "the checkpoint store is full",
    codes: ["STORE_FULL"],
    async break(scene) {
      await smallDisk(scene, "checkpoints", 16);
      await scene.ready("a");
      await scene.fill("a", 1, 5);
      await fillDisk(scene, "checkpoints");
      await scene.refusal("checkpoint create");
      return { status: "a" };
    },
    hint: /Free some space there/,
    async follow(scene) {
      await scene.act("remove somebody's file", () => makeRoom(scene, "checkpoints"));
      await scene.does("checkpoint create");
    },
  },
  {
    name: "checkpoint-running",
    failure: "a checkpoint is asked for while another one is being saved",
    codes: ["CHECKPOINT_RUNNING"],
    async break(scene) {
      await scene.ready("a");
      await scene.fillWith("a", 60, 100_000);
      const [first, second] = await Promise.all([
        scene.ask("checkpoint create"),
        scene.ask("checkpoint create"),
      ]);
      return { said: `${first.stderr}${second.stderr}` };
    },
    hint: /Wait until it has ended; the status shows its progress/,
    async follow(scene) {
      await scene.until("a", ({ checkpoints }) => checkpoints.running === null);
      await scene.does("checkpoint create");
    },
  },
  {
    name: "store-unmounted",
    failure: "the volume of the checkpoint store is not mounted when a node joins",
    codes: ["STORE_UNREACHABLE"],
    async break(scene) {
      await volumeAt(scene, "checkpoints");
      await scene.ready("a");
      await scene.fill("a", 1, 5);
      await scene.ask("checkpoint create");
      await scene.stop("a");
      await unmountVolume(scene, "checkpoints");
      await rm(scene.path("a", "a-index", "live"), { recursive: true });
      scene.start("a");
      return { status: "a" };
    },
    hint: /[Mm]ount it/,
    follow: async (scene) => await scene.act("mount the volume", () => mountVolume(scene, "checkpoints")),
  },
  {
    name: "store-shared",
    failure: "two logs save their checkpoints in one store",
    codes: [],
    async break(scene) {
      await scene.ready("a");
      await scene.ready("b", { settings: { "cairn/tx-log": { stream: "others" } } });
      await eachSaves(scene);
      return { status: "a" };
    },
    hint: /Give one of the two a folder or prefix of its own, and restart its nodes/,
    async follow(scene) {
      const env = { CAIRN_CHECKPOINT_PATH: scene.path("others") };
      await scene.restart("b", { settings: { "cairn/tx-log": { stream: "others" } }, env });
      // "the others say this until they are restarted"
      await scene.restart("a");
    },
  },
  {
    name: "same-node-id",
    failure: "two nodes have one id",
    codes: [],
    async break(scene) {
      await scene.ready("a");
      await scene.ready("b", { env: { CAIRN_NODE_ID: "a" } });
      await eachSaves(scene);
      return { status: "a" };
    },
    hint: /Give each node an id of its own \(.*, CAIRN_NODE_ID\), and restart both/,
    async follow(scene) {
      await scene.restart("b", { env: { CAIRN_NODE_ID: "b" } });
      await scene.restart("a");
    },
  },
];
