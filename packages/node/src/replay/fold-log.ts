import type { TxId } from "@cairn/client";
import type { IndexStore } from "../index/index-store.ts";
import { type LogIdentity } from "../log/log-identity.ts";
import { lastKnown, logOffset } from "../index/rows/index-state.ts";
import { followLog, type LogState } from "../log/follow-log.ts";
import type { TxLog } from "../log/tx-log.ts";

/** How an index that nobody else uses is brought to a transaction of its log. */
export interface FoldOptions {
  readonly index: IndexStore;
  readonly log: TxLog;
  /** The log's, with which the index agrees. */
  readonly identity: LogIdentity;
  /** The last transaction that is applied; the log holds it. */
  readonly upTo: TxId;
  readonly signal: AbortSignal;
  readonly onApplied?: () => void;
  readonly onLogState?: ((state: LogState) => void) | undefined;
}

/**
 * Applies what the log has and an index has not, up to exactly one transaction, without a limit of time; ends sooner only where it is
 * aborted, and then behind a whole transaction. Errors are those of {@link followLog} and of the index.
 */
export async function foldLog(options: FoldOptions): Promise<void> {
  const { index, log, identity, upTo, signal, onApplied, onLogState } = options;
  if (index.state.txId >= upTo) return;
  const offset = logOffset(identity, index.state);
  const following = followLog(log, {
    anchor: lastKnown(identity, index.state),
    maxMessages: 500,
    signal,
    ...(onLogState === undefined ? {} : { onState: onLogState }),
  });
  for await (const messages of following) {
    await index.apply(messages.filter(({ position }) => position + offset <= upTo));
    onApplied?.();
    if (index.state.txId >= upTo || signal.aborted) break;
  }
}
