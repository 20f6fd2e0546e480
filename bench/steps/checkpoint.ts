import { type CairnNode, startNode } from "@cairn/node";
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

/** Saves a checkpoint and returns the duration. If the node had just saved the same by itself, returns that one's. */
async function savedCheckpoint(node: CairnNode): Promise<{ seconds: number; bytes: number }> {
  await node.checkpoint().done;
  const { last, lastSaved, lastFailure } = (await node.status()).checkpoints;
  if (last === null || lastSaved === null)
    throw new Error(`no checkpoint was taken: ${lastFailure?.message ?? "there was nothing to save"}`);
  return { seconds: lastSaved.durationMs / 1000, bytes: last.bytes };
}
