import type { Logger } from "pino";
import type { TxId } from "@cairn/client";
import type { AppliedCounts, IndexStore } from "../index/index-store.ts";
import { buildNewFields, keepFieldsBuilt } from "../index/keep-fields-built.ts";
import { resolvable } from "../concurrency/resolvable.ts";
import { type LogIdentity } from "../log/log-identity.ts";
import type { FollowingMetrics } from "../metrics/following-metrics.ts";
import type { ReplayRate } from "./replay-rate.ts";
import { logFailure } from "../observe/failures.ts";
import type { LogHistory } from "../backup/log-with-backup.ts";
import { followHistory } from "./follow-history.ts";

interface IndexLogOptions {
  readonly index: IndexStore;
  /** The identity of the log. The index agrees with this log. */
  readonly identity: LogIdentity;
  readonly log: LogHistory;
  readonly logger: Logger;
  readonly figures: FollowingMetrics;
  /** Measures the replay up to `goal`. */
  readonly rate: ReplayRate;
  readonly signal: AbortSignal;
  /** The transaction that the index must contain before the node is ready. */
  readonly goal: TxId;
  /** Reports progress towards `goal`, and then the progress of building indexed fields. */
  readonly onProgress: (unit: "transactions" | "documents", done: number, total: number) => void;
  /** Called once, when the index contains `goal` and its indexed fields have been built. */
  readonly onReady: () => void;
  /** Called when the index contains everything up to `txId`, with the counts of the messages just applied. */
  readonly onApplied: (txId: TxId, counts: AppliedCounts) => void;
  /**
   * Reports whether the log is being read. It is not while it is unreachable, or while it has not yet been compared with
   * the index after an interruption.
   */
  readonly onReadable: (isReadable: boolean) => void;
}

/**
 * Applies the log to an index, and builds indexed fields at the same time, until `signal` is aborted. Throws the errors
 * of {@link followHistory} and of the index.
 *
 * Fields are built only after the index has caught up. Before that, their rows would change repeatedly, and it costs
 * less to build them from the final documents. The node is ready only once the fields that the replayed log defined
 * have been built.
 */
export async function indexLog(options: IndexLogOptions): Promise<void> {
  const { index, identity, log, logger, figures, rate, signal, goal, onProgress, onApplied } = options;
  const failed = new AbortController();
  const done = new AbortController();
  const begin = index.state.txId;
  const caughtUp = resolvable();
  const noticeRefusals = refusalNotices(logger);
  if (begin >= goal) caughtUp.resolve();
  done.signal.addEventListener("abort", caughtUp.resolve);
  const building = buildFields(options, AbortSignal.any([signal, done.signal]), caughtUp.promise).catch(
    (error: unknown) => failed.abort(error),
  );
  const following = followHistory(log, identity, index.state, {
    // Two arrays are in memory at a time: one is being applied, and the other is being fetched. Their size is a multiple
    // of OUTCOMES_IN_ROW, so that nearly all outcomes of a replay share rows.
    maxMessages: 512,
    signal: AbortSignal.any([signal, failed.signal]),
    onReading: () => {
      figures.reading();
      rate.begun(index.state.txId);
      options.onReadable(true);
    },
    onInterrupted: () => options.onReadable(false),
    onState: ({ reachable, error }) => {
      if (reachable) logger.info({ log: log.name }, "reading the log");
      else if (error !== undefined) logFailure(logger, "warn", error, "The node will try again.");
    },
  });
  const stopPreparing = log.onStoring?.((messages) => index.prepare(messages));
  try {
    for await (const messages of following) {
      const begunAt = performance.now();
      const before = index.state.txId;
      const counts = await index.apply(messages);
      figures.applied(counts, (performance.now() - begunAt) / 1_000);
      noticeRefusals(counts);
      const { txId } = index.state;
      onApplied(txId, counts);
      if (before < goal) {
        onProgress("transactions", Math.min(txId, goal) - begin, goal - begin);
        if (txId >= goal) rate.ended(txId);
      }
      if (txId >= goal) caughtUp.resolve();
    }
    // An aborted read ends without an error. If a failed build of fields caused the abort, its error is thrown here.
    failed.signal.throwIfAborted();
  } finally {
    stopPreparing?.();
    // The caller may close the index only after the build has ended.
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
  let isLogged = false;
  await buildNewFields(index, signal, (done, total) => {
    if (!isLogged) logger.info({ documents: total }, "building the indexed fields that the log defines");
    isLogged = true;
    onProgress("documents", done, total);
  });
  if (signal.aborted) return;
  onReady();
  await keepFieldsBuilt(index, signal);
}

const MIN_INTERVAL_MS = 60_000;

/** Logs how many messages were damaged or not written by a node for this log: at once, then at most once a minute. */
function refusalNotices(logger: Logger): (counts: AppliedCounts) => void {
  let messages = 0;
  let loggedAt = Number.NEGATIVE_INFINITY;
  return ({ refused: { count, last } }) => {
    if (last === undefined) return;
    messages += count;
    if (performance.now() - loggedAt < MIN_INTERVAL_MS) return;
    loggedAt = performance.now();
    const { txId, reason } = last;
    logger.warn({ messages, txId, reason, hint: HINT }, "The log contains messages that change nothing.");
    messages = 0;
  };
}

const HINT =
  "Check which other clients are permitted to publish to the log, and whether other streams capture the same subject, because only nodes of this log should write to it. For each message, GET /api/v1/tx/ID returns the reason.";
