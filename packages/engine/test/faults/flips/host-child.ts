// Runs nodes one after another for node-host.ts. They have their own process, because a damaged block can fail an
// assertion in LevelDB's native code, which ends the process.
import path from "node:path";
import { levelProvider } from "@cairn/kv";
import { openEmbeddedTxLog } from "../../../src/log/embedded/embedded-tx-log.ts";
import { runNode } from "@cairn/node";
import { quietSystem } from "@cairn/test-support/nodes/quiet-system";
import { subjectOf } from "./embedded-subject.ts";
import { Refused, type Subject } from "./flip-subject.ts";
import type { HostReply, HostRequest } from "./node-host.ts";

/** The write buffer in bytes, so small that a history fills several tables. */
const WRITE_BUFFER = 64 * 1024;

const SCRUB_MS = 1_000;

const nodes = new Map<string, Subject>();

process.on("message", (request: HostRequest) => {
  void answer(request).then((reply) => process.send?.(reply));
});
// The parent process has exited.
process.on("disconnect", () => process.exit());

async function answer({ id, folder, call }: HostRequest): Promise<HostReply> {
  try {
    if (call.name === "start") {
      nodes.set(folder, await startNode(folder));
      return { id, answer: null };
    }
    const node = nodes.get(folder);
    if (node === undefined) throw new Error(`No node runs in ${folder}.`);
    switch (call.name) {
      case "submit":
        return { id, answer: await node.submit(call.transaction) };
      case "ask":
        return { id, answer: await node.ask(call.question) };
      case "checkpoint":
        return { id, answer: (await node.checkpoint()) ?? null };
      case "health":
        return { id, answer: await node.health() };
      case "stop":
        nodes.delete(folder);
        return { id, answer: (await node.stop()) ?? null };
    }
  } catch (error) {
    if (error instanceof Refused) return { id, refused: { code: error.code, message: error.message } };
    return { id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  }
}

/** Starts a node that saves checkpoints only on request. */
async function startNode(folder: string): Promise<Subject> {
  const system = quietSystem({
    folder,
    nodeId: "a",
    openTxLog: () => openEmbeddedTxLog({ path: path.join(folder, "a-log") }),
  });
  return subjectOf(
    await runNode({
      ...system,
      scrubEvery: SCRUB_MS,
      kvProvider: levelProvider({ writeBufferSize: WRITE_BUFFER }),
    }),
  );
}
