import { startNode } from "@cairn/node";
import { touchPages } from "../harness/command.ts";
import type { Figures } from "../harness/figures.ts";
import { peakMemory, resetPeakMemory } from "../harness/peak-memory.ts";

/** Lets a node that is ready save a checkpoint, from the request to the published manifest. */
export async function takeCheckpointOnce({ config }: { readonly config: object }): Promise<Figures> {
  const node = await startNode(config, { env: {} });
  try {
    await node.ready;
    await touchPages();
    const idle = resetPeakMemory();
    const begin = performance.now();
    const result = await node.checkpoint().done;
    const seconds = (performance.now() - begin) / 1000;
    if ("skipped" in result) throw new Error(`no checkpoint was taken: ${result.skipped}`);
    const peak = peakMemory();
    const megabytes = result.checkpoint.bytes / 1_000_000;
    return { s: seconds, "MB/s": megabytes / seconds, "peak MB": peak, "MB above idle": peak - idle };
  } finally {
    await node.close();
  }
}
