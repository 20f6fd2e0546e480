import { type CheckpointStore, listCheckpoints } from "@cairn/checkpoint";
import { CairnError } from "@cairn/kv";
import type { LogBounds } from "../log/tx-log.ts";

/**
 * `LOG_TRIMMED` when the log has lost its beginning and no checkpoint in `stores` holds it and agrees with what is left: Cairn trims nothing
 * that none holds, so somebody else removed it, or the checkpoint. Undefined where all is well. Rejects where a store does not answer.
 */
export async function uncoveredBeginning(
  log: { readonly name: string; readonly id: string; readonly bounds: LogBounds },
  stores: readonly CheckpointStore[],
): Promise<CairnError | undefined> {
  const { first } = log.bounds;
  if (first <= 1) return undefined;
  for (const store of stores) {
    const { checkpoints } = await listCheckpoints(store);
    // Its last message has to be there still, so that the index in it can be compared with the log.
    const covers = checkpoints.some(
      ({ log: of, anchor }) => of.id === log.id && anchor.txId - of.offset >= first,
    );
    if (covers) return undefined;
  }
  return new CairnError(
    "LOG_TRIMMED",
    `The log "${log.name}" begins at message ${first}, and no checkpoint that this node knows of holds what came before: a node without an index cannot join.`,
    {
      hint: "cairn checkpoint create at a ready node saves one now. Cairn itself trims only what a verified checkpoint holds: look for who purges the stream, for its settings that remove messages, and for who removes checkpoints.",
    },
  );
}
