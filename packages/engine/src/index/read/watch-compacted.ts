import { CairnError } from "@cairn/kv";
import type { TxId } from "@cairn/client";

/** The error `WATCH_COMPACTED`. `floor` is the earliest transaction after which a watch can still begin. */
export class WatchCompactedError extends CairnError {
  readonly floor: TxId;
  readonly reason: "compacted" | "regressed";

  constructor(message: string, floor: TxId, reason: WatchCompactedError["reason"]) {
    super("WATCH_COMPACTED", message, {
      hint: `List the current documents, then watch from the transaction of the list (its header Cairn-Tx). With commands: cairn list BUCKET, then cairn watch BUCKET --from ${floor}, which begins with changes that the list may already include.`,
    });
    this.floor = floor;
    this.reason = reason;
  }
}

/** The watch would begin after `after`, although the history is complete only after `floor`. */
export function compacted(after: TxId, floor: TxId): WatchCompactedError {
  return new WatchCompactedError(
    `This node no longer has all changes after transaction ${after}. A watch can begin at ${floor} or later.`,
    floor,
    "compacted",
  );
}

/** The log has lost its end, including transaction `from`, and now contains other transactions instead. */
export function regressed(from: TxId, floor: TxId): WatchCompactedError {
  return new WatchCompactedError(
    `Transaction ${from} differs from the one that the watcher received, because the log lost its end, including that transaction.`,
    floor,
    "regressed",
  );
}
