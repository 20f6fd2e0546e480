import path from "node:path";
import { expect, vi } from "vitest";
import type { CairnNode, LogMessage } from "@cairn/engine";
import { LogFold } from "@cairn/engine/testing";
import { NatsOperator } from "@cairn/log-nats/testing";
import type { ClusterScene } from "./cluster-scene.ts";
import { cairn, CapturedTerminal, type CommandResult } from "./captured-terminal.ts";

/** The interval between segments in these scenes (ms). */
export const EVERY_MS = 200;

/** The parts of a node that backs up the log. */
export const BACKED_UP = { logBackup: { every: EVERY_MS, keep: "all", codec: "none" } } as const;

/** Runs a command with a configuration that names the scene's log and store. */
export async function run(scene: ClusterScene, ...args: string[]): Promise<CommandResult> {
  const env = {
    NATS_URL: scene.nats.url,
    CAIRN_CHECKPOINT_PATH: path.join(scene.folder, "checkpoints"),
    CAIRN_INDEX_PATH: path.join(scene.folder, "cli-index"),
  };
  return await cairn(args, new CapturedTerminal({ cwd: scene.folder, env }));
}

/** Runs a command that must succeed. */
export async function done(scene: ClusterScene, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await run(scene, ...args);
  expect({ code, stderr }).toEqual({ code: 0, stderr: expect.not.stringMatching(/^[A-Z_]+: /m) });
  return stdout;
}

/** Waits until the backup holds everything up to a transaction. */
export async function backedUp(node: CairnNode, txId: number): Promise<void> {
  await vi.waitFor(
    async () => {
      const last = (await node.status()).logBackup?.covered?.at(-1)?.last ?? 0;
      expect(last).toBeGreaterThanOrEqual(txId);
    },
    { timeout: 20_000, interval: 50 },
  );
}

/** Returns all messages of the scene's log. */
export async function messagesOf(scene: ClusterScene): Promise<LogMessage[]> {
  const messages: LogMessage[] = [];
  await NatsOperator.at(scene.nats.url, async (nats) => {
    for await (const message of nats.messages()) messages.push(message);
  });
  return messages;
}

/** Returns the digest of the fold of messages, which may be of several logs that continue one another. */
export function foldOf(messages: Iterable<LogMessage>): { txId: number; digest: string } {
  const fold = new LogFold();
  for (const message of messages) fold.apply(message);
  return { txId: fold.txId, digest: fold.digest() };
}
