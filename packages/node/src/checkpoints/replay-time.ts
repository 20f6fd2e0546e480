import type { CheckpointSource } from "@cairn/checkpoint";
import { isCairnError } from "@cairn/kv";
import type { IndexStore } from "../index/index-store.ts";
import type { TxLog } from "../log/tx-log.ts";

type ReplayTime = NonNullable<CheckpointSource["replayTimeMs"]>;

/** The log together with its backup, and the warnings about the log itself. */
type Readable = Pick<TxLog, "fetch"> & Required<Pick<TxLog, "inspect">>;

/**
 * Returns an estimate of how long a joining node would replay from a checkpoint to where `index` is now; undefined unless every node could.
 * `timeFor` gives the time of so many transactions (ms).
 */
export function replayTime(
  index: Pick<IndexStore, "state">,
  log: Readable,
  timeFor: (transactions: number) => number,
): ReplayTime {
  return async (manifest) =>
    (await isReadable(log, manifest)) ? timeFor(index.state.txId - manifest.txId) : undefined;
}

/**
 * Returns whether the log has what follows a checkpoint, its last message (with which joining nodes compare it) and no defect, such as a
 * hole or a setting by which it loses messages, that may keep a node from reading on.
 */
async function isReadable(
  log: Readable,
  { anchor, log: { offset } }: Parameters<ReplayTime>[0],
): Promise<boolean> {
  const position = anchor.txId - offset;
  try {
    if ((await log.fetch(position)) === undefined || (await log.fetch(position + 1)) === undefined)
      return false;
    return (await log.inspect()).length === 0;
  } catch (error) {
    // What this node cannot read, others may not read either; a checkpoint does no harm.
    if (isCairnError(error)) return false;
    throw error;
  }
}
