import { CairnError } from "@cairn/kv";
import type { Position, TxId } from "@cairn/client";

/** The error `WATCH_COMPACTED`. `floor` is the earliest position from which a watch can still begin. */
export class WatchCompactedError extends CairnError {
  readonly floor: Position;
  readonly reason: "compacted" | "regressed";

  constructor(message: string, floor: Position, reason: WatchCompactedError["reason"]) {
    super("WATCH_COMPACTED", message, {
      hint: `List the current documents, then watch from the position of the list (its header Cairn-Position). With commands: cairn list BUCKET, then cairn watch BUCKET --from ${floor}, which begins with changes that the list may already include.`,
      details: { floor, reason },
    });
    this.floor = floor;
    this.reason = reason;
  }
}

/** The watch would begin after `after`, although the history is complete only after `floor`. */
export function compacted(after: TxId, floor: Position): WatchCompactedError {
  return new WatchCompactedError(
    `This node no longer has all changes after transaction ${after}. A watch can begin at ${floor} or later.`,
    floor,
    "compacted",
  );
}

/** The log has lost its end, including transaction `from`, and may now contain other transactions instead. */
export function regressed(from: TxId, floor: Position): WatchCompactedError {
  return new WatchCompactedError(
    `The log no longer contains transaction ${from} as the watcher received it, because it lost its end or was replaced.`,
    floor,
    "regressed",
  );
}
