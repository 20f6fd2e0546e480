import type { Logger } from "pino";
import type { IndexStore } from "./index-store/index-store.ts";
import { keepFieldsBuilt } from "./index-store/keep-fields-built.ts";
import { lastKnown, type LogIdentity } from "./joining/log-identity.ts";
import type { FollowingMetrics } from "./metrics/following-metrics.ts";
import { tellFailure } from "./tell-failure.ts";
import { followLog } from "./tx-log/follow-log.ts";
import type { TxLog } from "./tx-log/tx-log.ts";
import type { TxId } from "./tx-log/transaction.ts";

/** How an index is kept from its log. */
export interface IndexLogOptions {
  readonly index: IndexStore;
  /** The log's, with which the index agrees. */
  readonly identity: LogIdentity;
  readonly log: TxLog;
  readonly logger: Logger;
  readonly figures: FollowingMetrics;
  readonly signal: AbortSignal;
  /** The index holds everything up to `txId` now. */
  readonly onApplied: (txId: TxId) => void;
}

/**
 * Applies what the log has and an index has not, then what comes, and builds indexed fields beside, until it is aborted. Errors are
 * those of {@link followLog} and of the index.
 */
export async function indexLog(options: IndexLogOptions): Promise<void> {
  const { index, identity, log, logger, figures, signal, onApplied } = options;
  const failed = new AbortController();
  const done = new AbortController();
  const building = keepFieldsBuilt(index, AbortSignal.any([signal, done.signal])).catch((error: unknown) =>
    failed.abort(error),
  );
  const following = followLog(log, {
    anchor: lastKnown(identity, index.state),
    // Two arrays of them are in memory at once, one being applied and one being fetched.
    maxMessages: 500,
    signal: AbortSignal.any([signal, failed.signal]),
    onReading: figures.reading,
    onState: ({ reachable, error }) => {
      if (reachable) logger.info({ log: log.name }, "reading the log");
      else if (error !== undefined) tellFailure(logger, "warn", error, "The node tries again.");
    },
  });
  try {
    for await (const messages of following) {
      const begunAt = performance.now();
      const counts = await index.apply(messages);
      figures.applied(counts, (performance.now() - begunAt) / 1_000);
      onApplied(index.state.txId);
    }
    // Reading that is aborted ends without an error: if it was because of the building, that one's is told.
    failed.signal.throwIfAborted();
  } finally {
    // Nobody else closes the index while it is built.
    done.abort();
    await building;
  }
}
