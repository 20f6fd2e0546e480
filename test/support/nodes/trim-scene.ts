import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { type CheckpointStore, filesystemStore, listCheckpoints } from "@cairn/checkpoint";
import { closing, levelProvider } from "@cairn/kv";
import { onTestFinished } from "vitest";
import { type CairnNode, type System, openEmbeddedTxLog, type TxLog, verifyCheckpoint } from "@cairn/engine";
import type { VerifiedCheckpoint } from "@cairn/engine/src/checkpoints/verify-checkpoint";
import { runNode } from "@cairn/node";
import { quietSystem } from "./quiet-system.ts";
import { openNatsTxLog } from "@cairn/log-nats/src/nats-tx-log";
import type { TrimOptions } from "@cairn/engine/src/upkeep/plan-trim";
import { startNatsServer } from "@cairn/log-nats/testing";
import { saveCheckpoint } from "../stores/save-checkpoint.ts";

/** The options of a node that a test sets. */
export interface SceneParts {
  readonly verifyEvery?: number;
  readonly trim?: System["trim"];
  readonly logBackup?: System["logBackup"];
}

/** Nodes, one after another or concurrently, on one log and one folder of checkpoints. */
export interface TrimScene {
  readonly folder: string;
  readonly store: CheckpointStore;
  /** Undefined if the log is embedded. */
  readonly natsUrl: string | undefined;
  openLog(): Promise<TxLog>;
  /** Starts a node with this id and its own index. The node is closed no later than the end of the test. */
  start(id: string, more?: SceneParts): Promise<CairnNode>;
  /** Verifies a checkpoint as a node would. */
  verify(name: string): Promise<VerifiedCheckpoint>;
  /** Returns the names of the checkpoints, newest first. */
  checkpoints(): Promise<string[]>;
}

/** Creates a scene with a log of this kind, with a real server for "nats". Everything is removed after the test. */
export async function trimScene(kind: "embedded" | "nats", shared = true): Promise<TrimScene> {
  const folder = await mkdtemp(path.join(tmpdir(), "cairn-trim-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const server = kind === "nats" ? await startNatsServer() : undefined;
  if (server !== undefined) onTestFinished(() => server.close());
  const store = filesystemStore({ path: path.join(folder, "checkpoints"), shared });
  const openLog = (): Promise<TxLog> =>
    server === undefined
      ? openEmbeddedTxLog({ path: path.join(folder, "log") })
      : openNatsTxLog({ servers: [server.url] });
  return {
    folder,
    store,
    natsUrl: server?.url,
    openLog,
    start: async (id, { verifyEvery, trim, logBackup } = {}) => {
      const checkpointer = { store, ...(verifyEvery === undefined ? {} : { verifyEvery }) };
      const node = await runNode({
        ...quietSystem({ folder, nodeId: id, openTxLog: openLog, checkpointer }),
        ...(trim === undefined ? {} : { trim }),
        ...(logBackup === undefined ? {} : { logBackup }),
      });
      onTestFinished(() => node.close());
      return node;
    },
    verify: (name) =>
      verifyCheckpoint({
        store,
        name,
        provider: levelProvider(),
        stagingDir: path.join(folder, "staging"),
        node: "verifier",
      }),
    checkpoints: async () => (await listCheckpoints(store)).checkpoints.map(({ name }) => name),
  };
}

/** Writes documents `from` up to `to` (exclusive), each in its own transaction, and waits until they are indexed. */
export async function put(node: CairnNode, from: number, to: number): Promise<void> {
  for (let n = from; n < to; n += 1) {
    const { txId } = await node.submit({ ops: [["put", "things", `default/k${n}`, n]] });
    await node.await(txId);
  }
}

/**
 * Saves checkpoints at transactions 11 and 21 of a log of 31 messages. Returns their names, with the older one first.
 */
export async function twoCheckpoints(scene: TrimScene): Promise<[older: string, newer: string]> {
  const node = await scene.start("first");
  await node.ready;
  await put(node, 0, 10);
  await saveCheckpoint(node);
  await put(node, 10, 20);
  await saveCheckpoint(node);
  await put(node, 20, 30);
  await node.close();
  const [newer = "", older = ""] = await scene.checkpoints();
  return [older, newer];
}

/** Trims the log of a scene without nodes, by default up to its last message, which stays. */
export async function trimTo(scene: TrimScene, first?: number): Promise<void> {
  await closing(await scene.openLog(), async (log) => {
    await log.trim?.(first ?? (await log.bounds()).last);
  });
}

/** Returns the options for trimming `log` in that scene. */
export function trimOptions(scene: TrimScene, log: TxLog): TrimOptions {
  return { log, stores: [scene.store], kvFormat: levelProvider().format };
}
