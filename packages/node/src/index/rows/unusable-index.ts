import { CairnError } from "@cairn/kv";

/** Returns `INDEX_CORRUPT`: the index cannot be used. `why` is the reason in words. */
export function unusableIndex(why: string, cause?: unknown): CairnError {
  return new CairnError("INDEX_CORRUPT", `The index is not usable: ${why}.`, {
    hint: "Start the node, or let it run: it moves the index to quarantine and builds a new one from a checkpoint or from the log.",
    cause,
  });
}
