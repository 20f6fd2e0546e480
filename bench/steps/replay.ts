import { startNode } from "@cairn/node";
import type { Figures } from "../harness/figures.ts";
import { AnonymousMemory, peakMemory } from "../harness/peak-memory.ts";

/** Starts a node without an index or a checkpoint, and measures the time until it has caught up with its log. */
export async function replayLog(input: {
  readonly config: object;
  readonly documents: number;
}): Promise<Figures> {
  const begin = performance.now();
  const memory = AnonymousMemory.begin();
  const node = await startNode(input.config, { env: {} });
  try {
    await node.ready;
    const seconds = (performance.now() - begin) / 1000;
    const { index } = await node.status();
    if (index.documents !== input.documents)
      throw new Error(`the index has ${index.documents} documents instead of ${input.documents}`);
    return {
      "records/s": index.documents / seconds,
      s: seconds,
      "MB not mapped": memory.end(),
      "peak MB": peakMemory(),
    };
  } finally {
    await node.close();
  }
}
