import type { Logger } from "pino";
import type { AppliedCounts } from "../index/index-store.ts";

const MIN_INTERVAL_MS = 60_000;

/**
 * Logs the number of messages that were ignored because they are damaged or no node wrote them for this log:
 * immediately, then at most once a minute.
 */
export class RefusedMessageNotices {
  readonly #logger: Logger;
  #count = 0;
  #loggedAt = Number.NEGATIVE_INFINITY;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  applied({ refused: { count, last } }: AppliedCounts): void {
    if (last === undefined) return;
    this.#count += count;
    if (performance.now() - this.#loggedAt < MIN_INTERVAL_MS) return;
    this.#loggedAt = performance.now();
    this.#logger.warn(
      { messages: this.#count, txId: last.txId, reason: last.reason, hint: HINT },
      "The log contains messages that change nothing.",
    );
    this.#count = 0;
  }
}

const HINT =
  "Only nodes of this log should write to it: check which other clients may publish there, and whether other streams capture the same subject. For each message, GET /api/v1/tx/ID returns the reason.";
