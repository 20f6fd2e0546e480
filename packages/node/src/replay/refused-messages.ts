import type { Logger } from "pino";
import type { AppliedCounts } from "../index/index-store.ts";

const MIN_INTERVAL_MS = 60_000;

/** Logs how many messages were damaged or not written by a node for this log: at once, then at most once a minute. */
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
  "Check which other clients are permitted to publish to the log, and whether other streams capture the same subject, because only nodes of this log should write to it. For each message, GET /api/v1/tx/ID returns the reason.";
