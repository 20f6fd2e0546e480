import { setTimeout as delay } from "node:timers/promises";
import { type CairnNode, isCairnError, startNode } from "@cairn/node";
import { touchPages } from "../harness/command.ts";
import type { Figures } from "../harness/figures.ts";
import { peakMemory, resetPeakMemory } from "../harness/peak-memory.ts";

/** Measures how a ready node saves a checkpoint, from the request to the published manifest. */
export async function takeCheckpointOnce({ config }: { readonly config: object }): Promise<Figures> {
  const node = await startNode(config, { env: {} });
  try {
    await node.ready;
    await touchPages();
    const idle = resetPeakMemory();
    const { seconds, bytes } = await savedCheckpoint(node);
    const peak = peakMemory();
    const megabytes = bytes / 1_000_000;
    return {
      s: seconds,
      MB: megabytes,
      "MB/s": megabytes / seconds,
      "peak MB": peak,
      "MB above idle": peak - idle,
    };
  } finally {
    await node.close();
  }
}

/** A status takes a node's time, and a node that has more to do than that counts as busy, so it saves more slowly. */
const POLL_MS = 1000;

/** Saves a checkpoint and returns the duration. If the node is already saving one, waits for it. */
async function savedCheckpoint(node: CairnNode): Promise<{ seconds: number; bytes: number }> {
  const begin = performance.now();
  try {
    const { begun, done } = node.checkpoint();
    // If `begun` rejects, `done` rejects with the same error.
    done.catch(() => undefined);
    await begun;
    const result = await done;
    if ("checkpoint" in result) {
      return { seconds: (performance.now() - begin) / 1000, bytes: result.checkpoint.bytes };
    }
  } catch (error) {
    if (!isCairnError(error, "CHECKPOINT_RUNNING")) throw error;
  }
  for (;;) {
    const { running, last, lastSaved, lastFailure } = (await node.status()).checkpoints;
    if (running !== null) await delay(POLL_MS);
    else if (last !== null && lastSaved !== null) {
      return { seconds: lastSaved.durationMs / 1000, bytes: last.bytes };
    } else throw new Error(`no checkpoint was taken: ${lastFailure?.message ?? "there was nothing to save"}`);
  }
}
