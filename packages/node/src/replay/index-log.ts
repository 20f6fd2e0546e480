import type { Logger } from "pino";
import type { TxId } from "@cairn/client";
import type { IndexStore } from "../index/index-store.ts";
import { buildNewFields, keepFieldsBuilt } from "../index/keep-fields-built.ts";
import { resolvable } from "../concurrency/turns.ts";
import { type LogIdentity } from "../log/log-identity.ts";
import { lastKnown } from "../index/rows/index-state.ts";
import type { FollowingMetrics } from "../metrics/following-metrics.ts";
import { RefusedMessageNotices } from "./refused-messages.ts";
import { tellFailure } from "../observe/tell-failure.ts";
import { followLog } from "../log/follow-log.ts";
import type { TxLog } from "../log/tx-log.ts";

/** How an index is kept from its log. */
export interface IndexLogOptions {
  readonly index: IndexStore;
  /** The log's, with which the index agrees. */
  readonly identity: LogIdentity;
  readonly log: TxLog;
  readonly logger: Logger;
  readonly figures: FollowingMetrics;
  readonly signal: AbortSignal;
  /** The transaction that the index has to hold before the node is ready. */
  readonly goal: TxId;
  /** How far the index is on its way there, also as to what is built once it is. */
  readonly onProgress: (unit: "transactions" | "documents", done: number, total: number) => void;
  /** The index holds `goal`, and what was to be built with it. Called once. */
  readonly onReady: () => void;
  /** The index holds everything up to `txId` now. */
  readonly onApplied: (txId: TxId) => void;
  /** The log can be read, or it was told in the node's log why not. */
  readonly onReadable: (isReadable: boolean) => void;
}

/**
 * Applies what the log has and an index has not, then what comes, and builds indexed fields beside, until it is aborted. Errors are
 * those of {@link followLog} and of the index.
 *
 * Fields are not built before the index has caught up: until then what is indexed would change again and again, and building them
 * from what the documents are in the end costs a part of that. Those that were defined meanwhile belong to being ready.
 */
export async function indexLog(options: IndexLogOptions): Promise<void> {
  const { index, identity, log, logger, figures, signal, goal, onProgress, onApplied } = options;
  const failed = new AbortController();
  const done = new AbortController();
  const begin = index.state.txId;
  const caughtUp = resolvable();
  const notices = new RefusedMessageNotices(logger);
  if (begin >= goal) caughtUp.resolve();
  done.signal.addEventListener("abort", caughtUp.resolve);
  const building = buildFields(options, AbortSignal.any([signal, done.signal]), caughtUp.promise).catch(
    (error: unknown) => failed.abort(error),
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
      options.onReadable(reachable);
    },
  });
  try {
    for await (const messages of following) {
      const begunAt = performance.now();
      const before = index.state.txId;
      const counts = await index.apply(messages);
      figures.applied(counts, (performance.now() - begunAt) / 1_000);
      notices.applied(counts);
      const { txId } = index.state;
      onApplied(txId);
      if (before < goal) onProgress("transactions", Math.min(txId, goal) - begin, goal - begin);
      if (txId >= goal) caughtUp.resolve();
    }
    // Reading that is aborted ends without an error: if it was because of the building, that one's is told.
    failed.signal.throwIfAborted();
  } finally {
    // Nobody else closes the index while it is built.
    done.abort();
    await building;
  }
}

async function buildFields(
  { index, logger, onProgress, onReady }: IndexLogOptions,
  signal: AbortSignal,
  caughtUp: Promise<void>,
): Promise<void> {
  await caughtUp;
  if (signal.aborted) return;
  let isTold = false;
  await buildNewFields(index, signal, (done, total) => {
    if (!isTold) logger.info({ documents: total }, "building the indexed fields that the log defines");
    isTold = true;
    onProgress("documents", done, total);
  });
  if (signal.aborted) return;
  onReady();
  await keepFieldsBuilt(index, signal);
}
