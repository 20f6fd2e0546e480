import { timeoutSignal } from "@cairn/client/protocol";
import type { LogOverview, NodeStatus } from "@cairn/client";
import { SharedResults, unlessFailed } from "@cairn/kv";
import type { System } from "../api/system.ts";
import { SegmentReads } from "../backup/write/segment-reads.ts";
import { restoreStores } from "../checkpoints/checkpoint-stores.ts";
import type { TxLog } from "../log/tx-log.ts";
import { planTrim } from "./plan-trim.ts";

/** How long a plan is returned again, because making one reads the checkpoint store (ms). */
const KEEP_MS = 30_000;
/** How long one plan may read segments of the backup (ms). The next one continues where it stopped. */
const READ_MS = 30_000;

/**
 * Returns a function that describes the node's log, which is undefined until it is open, and plans how far it may be
 * trimmed. Throws as {@link planTrim} does.
 */
export function logOverviews(
  system: Pick<System, "checkpointer" | "restoreFrom" | "trim" | "kvProvider">,
): (log: TxLog | undefined, status: NodeStatus["log"]) => Promise<LogOverview> {
  const plans = new SharedResults<LogOverview["trim"]>(KEEP_MS);
  const reads = new SegmentReads();

  async function plan(log: TxLog, firstTxId: number): Promise<LogOverview["trim"]> {
    const { trim, kvProvider } = system;
    const planning = planTrim({
      log,
      stores: restoreStores(system),
      kvFormat: kvProvider.format,
      keep: trim?.keep,
      reads,
      signal: timeoutSignal(READ_MS),
    });
    // The log may have been deleted in the meantime.
    const planned = await unlessFailed(planning, "NOT_FOUND", null);
    if (planned === null) return null;
    const { first, upTo, because, checkpoint } = planned;
    const last = upTo === first ? null : firstTxId + upTo - first - 1;
    const replacing = last === null ? null : (checkpoint?.name ?? null);
    return { automatic: trim !== undefined, upTo: last, because, checkpoint: replacing };
  }

  return async (log, { name, id, location = null, firstTxId, lastTxId }) => {
    const isTrimmable = log?.trim !== undefined && system.checkpointer !== undefined;
    const trim =
      isTrimmable && id !== null && firstTxId !== null
        ? await plans.get(id, async () => await plan(log, firstTxId))
        : null;
    return { name, id, location, firstTxId, lastTxId, trim };
  };
}
