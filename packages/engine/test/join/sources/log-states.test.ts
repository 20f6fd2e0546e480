// @module-tag nats
import { mkdir, rm } from "node:fs/promises";
import path from "node:path";
import { filesystemStore, markDamaged } from "@cairn/checkpoint";
import { NatsOperator } from "@cairn/log-nats/testing";
import { ClusterScene, put } from "@cairn/test-support/nodes/cluster-scene";
import { hurryClock } from "@cairn/test-support/nodes/hurried-clock";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { CairnNode } from "../../../src/node/node.ts";

let scene: ClusterScene;
beforeEach(async () => {
  hurryClock();
  scene = await ClusterScene.open();
});
afterEach(() => scene.close());

const operator = async <T>(act: (nats: NatsOperator) => Promise<T>): Promise<T> =>
  await NatsOperator.at(scene.nats.url, act);

/** The last message of the index and of the checkpoint. */
const END = 6;

/** Lets another node, which shares nothing but the log, write messages. Returns its digest. */
async function others(messages: number, different: "halt" | "rebuild" = "halt"): Promise<string> {
  const store = filesystemStore({ path: path.join(scene.folder, "other-checkpoints") });
  const parts = { onLogMismatch: { regressed: "rebuild", different } } as const;
  const other = await scene.ready("other", { store, parts });
  if (messages > 0) await put(other, 100, 100 + messages, "other");
  const { digest } = await other.digest();
  await scene.stop(other);
  return digest;
}

interface LogCase {
  /** Creates the log's stream, if a node must not do so. */
  readonly create?: () => Promise<void>;
  /** Called when the log ends with message 4, which only a log that is rolled back needs. */
  readonly before?: () => Promise<void>;
  /** Brings the log into its state. Returns the digest of its history, unless that is the history of the index. */
  readonly change: () => Promise<string | void>;
  /** What becomes of a node with an index, a checkpoint, both, neither. */
  readonly index: string;
  readonly checkpoint: string;
  readonly both: string;
  readonly neither: string;
}

const rolledBack = (then: () => Promise<string | void>): Pick<LogCase, "before" | "change"> => ({
  before: async () => await scene.copyLog(),
  change: async () => {
    await scene.rollBackLog();
    return await then();
  },
});

/** The rows of "What a log may look like" in docs/internals/rules.md, in their order. */
const CASES: Readonly<Record<string, LogCase>> = {
  "holds the last message, and all before it": {
    change: async () => undefined,
    index: "continued",
    checkpoint: "restored",
    both: "continued",
    neither: "replayed",
  },
  "begins with the last message": {
    change: async () => await operator(async (nats) => await nats.purgeBefore(END)),
    index: "continued",
    checkpoint: "restored",
    both: "continued",
    neither: "LOG_TRIMMED",
  },
  "was emptied after the last message": {
    change: async () => await operator(async (nats) => await nats.purgeBefore(END + 1)),
    index: "continued",
    checkpoint: "restored",
    both: "continued",
    neither: "LOG_TRIMMED",
  },
  "begins directly after the last message": {
    change: async () => {
      const digest = await others(2);
      await operator(async (nats) => await nats.purgeBefore(END + 1));
      return digest;
    },
    index: "continued",
    checkpoint: "restored",
    both: "continued",
    neither: "LOG_TRIMMED",
  },
  "begins later": {
    change: async () => {
      await others(3);
      await operator(async (nats) => await nats.purgeBefore(END + 2));
    },
    index: "LOG_TRIMMED",
    checkpoint: "LOG_TRIMMED",
    both: "LOG_TRIMMED",
    neither: "LOG_TRIMMED",
  },
  "was emptied after a later message": {
    change: async () => {
      await others(1);
      await operator(async (nats) => await nats.purgeBefore(END + 2));
    },
    index: "LOG_TRIMMED",
    checkpoint: "LOG_TRIMMED",
    both: "LOG_TRIMMED",
    neither: "LOG_TRIMMED",
  },
  "ends before the last message": {
    ...rolledBack(async () => await others(0)),
    index: "replayed after LOG_REGRESSED",
    checkpoint: "replayed",
    both: "replayed after LOG_REGRESSED",
    neither: "replayed",
  },
  "was emptied before the last message": {
    ...rolledBack(async () => await operator(async (nats) => await nats.purgeBefore(5))),
    index: "LOG_TRIMMED after LOG_REGRESSED",
    checkpoint: "LOG_TRIMMED",
    both: "LOG_TRIMMED after LOG_REGRESSED",
    neither: "LOG_TRIMMED",
  },
  "holds another message there": {
    ...rolledBack(async () => await others(3)),
    index: "replayed after LOG_REGRESSED",
    checkpoint: "replayed",
    both: "replayed after LOG_REGRESSED",
    neither: "replayed",
  },
  "was emptied after another message there": {
    ...rolledBack(async () => {
      await others(2);
      await operator(async (nats) => await nats.purgeBefore(END + 1));
    }),
    index: "LOG_TRIMMED after LOG_REGRESSED",
    checkpoint: "LOG_TRIMMED",
    both: "LOG_TRIMMED after LOG_REGRESSED",
    neither: "LOG_TRIMMED",
  },
  "holds later messages, but not the last one": {
    create: async () => await operator(async (nats) => await nats.makeDeletable()),
    change: async () => {
      const digest = await others(1);
      await operator(async (nats) => await nats.deleteMessage(END));
      return digest;
    },
    index: "continued",
    checkpoint: "restored",
    both: "continued",
    neither: "LOG_GAP",
  },
  "was begun anew": {
    change: async () => {
      await operator(async (nats) => await nats.deleteStream());
      return await others(5, "rebuild");
    },
    index: "LOG_DIFFERENT",
    checkpoint: "replayed",
    both: "LOG_DIFFERENT",
    neither: "replayed",
  },
  "was emptied, and its id is unknown": {
    change: async () =>
      await operator(async (nats) => {
        await nats.purgeBefore(END + 1);
        await nats.edit({ description: "" });
      }),
    index: "LOG_DIFFERENT",
    checkpoint: "LOG_DIFFERENT",
    both: "LOG_DIFFERENT",
    neither: "LOG_DIFFERENT",
  },
  "does not exist": {
    change: async () => await operator(async (nats) => await nats.deleteStream()),
    index: "LOG_DIFFERENT",
    checkpoint: "LOG_DIFFERENT",
    both: "LOG_DIFFERENT",
    neither: "begun",
  },
  "never held a message": {
    change: async () =>
      await operator(async (nats) => {
        await nats.deleteStream();
        await nats.makeDeletable();
      }),
    index: "LOG_DIFFERENT",
    checkpoint: "LOG_DIFFERENT",
    both: "LOG_DIFFERENT",
    neither: "begun",
  },
};

/** Describes what became of a node, by its status alone. */
async function outcomeOf(node: CairnNode): Promise<string> {
  await vi.waitFor(() => expect(["ready", "failed"]).toContain(node.phase), { timeout: 15_000 });
  const { phase, failure, join, index } = await node.status();
  const [moved] = join.movedAside;
  const after = moved === undefined ? "" : ` after ${moved.code}`;
  if (phase === "failed") return `${failure?.code ?? ""}${after}`;
  if (join.restoredFrom !== null) return `restored${after}`;
  if (join.replayed < (index.txId ?? 0)) return "continued";
  return `${index.txId === 1 ? "begun" : "replayed"}${after}`;
}

const SLOW = { tags: "rest/slow" } as const;

describe.each(Object.entries(CASES))(
  "if the log %s, a node",
  SLOW,
  (_, { create, before, change, ...expected }) => {
    it.each([
      ["an index", "index"],
      ["a checkpoint", "checkpoint"],
      ["both", "both"],
      ["neither", "neither"],
    ] as const)("with %s ends as the table of rules says, and loses nothing", async (_of, which) => {
      await create?.();
      const node = await scene.ready("a");
      await put(node, 0, 3, "v");
      await before?.();
      await put(node, 3, END - 1, "v");
      await saveCheckpoint(node);
      const { digest } = await node.digest();
      await scene.stop(node);
      const history = (await change()) ?? digest;
      if (which === "checkpoint" || which === "neither")
        await rm(scene.dbDir("a"), { recursive: true, force: true });
      if (which === "index" || which === "neither") {
        await rm(path.join(scene.folder, "checkpoints"), { recursive: true, force: true });
        await mkdir(path.join(scene.folder, "checkpoints"));
      }

      const again = await scene.start("a");
      expect(await outcomeOf(again)).toBe(expected[which]);
      if (again.phase !== "ready") return;
      if (expected[which] !== "begun") expect((await again.digest()).digest).toBe(history);
      const last = await put(again, 200, 202, "w");
      expect((await again.status()).log).toMatchObject({ lastTxId: last, reachable: true });
    });
  },
);

it("a node with an index with which its log goes on needs no newer checkpoint that is marked as damaged", async () => {
  const node = await scene.ready("a");
  await put(node, 0, 3, "v");
  const { txId = 0 } = (await node.status()).index;
  await scene.stop(node);
  const store = filesystemStore({ path: path.join(scene.folder, "checkpoints") });
  const other = await scene.ready("b", { store });
  await put(other, 3, 5, "v");
  const name = await saveCheckpoint(other);
  await markDamaged(store, [name], "b");
  await scene.stop(other);
  await operator(async (nats) => await nats.purgeBefore((txId ?? 0) + 1));
  expect(await outcomeOf(await scene.start("a"))).toBe("continued");
});
