import type { CheckpointSource } from "@cairn/checkpoint";
import { isCairnError } from "@cairn/kv";
import type { IndexStore } from "../index/index-store.ts";
import type { TxLog } from "../log/tx-log.ts";

type ReplayTime = NonNullable<CheckpointSource["replayTimeMs"]>;

/** `fetch` reads the log combined with its backup; `inspect` returns the warnings about the log itself. */
type Readable = Pick<TxLog, "fetch"> & Required<Pick<TxLog, "inspect">>;

/**
 * Returns an estimate of the time that a joining node would need to replay from a checkpoint to the current position of
 * `index`; undefined if some nodes might not be able to replay. `timeFor` returns the time for a number of transactions
 * (ms).
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
 * Returns whether the log contains the checkpoint's last message (with which joining nodes compare it) and all later
 * ones. The log must also have no defect that may keep a node from continuing, such as a hole or a setting with which
 * it loses messages.
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
    // If this node cannot read the log, other nodes may not be able to read it either. In that case, an additional
    // checkpoint does no harm.
    if (isCairnError(error)) return false;
    throw error;
  }
}
