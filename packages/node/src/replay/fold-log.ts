import type { TxId } from "@cairn/client";
import type { IndexStore } from "../index/index-store.ts";
import { logOffset } from "../index/rows/index-state.ts";
import { type LogIdentity } from "../log/log-identity.ts";
import type { LogHistory } from "../backup/log-with-backup.ts";
import type { LogState } from "../log/follow-log.ts";
import { followHistory } from "./follow-history.ts";

interface FoldOptions {
  readonly index: IndexStore;
  readonly log: LogHistory;
  /** The identity of the log. The index agrees with this log. */
  readonly identity: LogIdentity;
  /** The last transaction to apply. The log, or a log that it continues, contains it. */
  readonly upTo: TxId;
  readonly signal: AbortSignal;
  readonly onApplied?: () => void;
  readonly onLogState?: ((state: LogState) => void) | undefined;
}

/**
 * Applies the log to an index that no other task uses, up to exactly the given transaction and without a time limit. If
 * aborted, it ends early, after a complete transaction. Throws the errors of {@link followHistory} and of the index.
 */
export async function foldLog(options: FoldOptions): Promise<void> {
  const { index, log, identity, upTo, signal, onApplied, onLogState } = options;
  if (index.state.txId >= upTo) return;
  const following = followHistory(log, identity, index.state, {
    upTo: upTo - logOffset(identity, index.state),
    maxMessages: 512,
    signal,
    ...(onLogState === undefined ? {} : { onState: onLogState }),
  });
  for await (const messages of following) {
    await index.apply(messages.slice(0, upTo - index.state.txId));
    onApplied?.();
    if (index.state.txId >= upTo || signal.aborted) break;
  }
}
