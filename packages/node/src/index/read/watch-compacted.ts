import { CairnError } from "@cairn/kv";
import type { TxId } from "@cairn/client";

/** `WATCH_COMPACTED`; `floor` is the earliest transaction after which a watch can still begin. */
export class WatchCompactedError extends CairnError {
  readonly floor: TxId;
  readonly reason: "compacted" | "regressed";

  constructor(message: string, floor: TxId, reason: WatchCompactedError["reason"]) {
    super("WATCH_COMPACTED", message, {
      hint: `List what is there now, then watch from the transaction that the list names (its header Cairn-Tx). With commands: cairn list BUCKET, then cairn watch BUCKET --from ${floor}, which begins with changes that the list may have already.`,
    });
    this.floor = floor;
    this.reason = reason;
  }
}

/** The history that begins behind `floor` does not reach back to `after`. */
export function compacted(after: TxId, floor: TxId): WatchCompactedError {
  return new WatchCompactedError(
    `This node no longer has all changes after transaction ${after}: a watch can begin at ${floor} or later.`,
    floor,
    "compacted",
  );
}

/** The log lost its end and wrote another one since the watcher saw transaction `from`. */
export function regressed(from: TxId, floor: TxId): WatchCompactedError {
  return new WatchCompactedError(
    `Transaction ${from} is another one than the watcher saw: the log lost its end and what the watcher saw of it.`,
    floor,
    "regressed",
  );
}
