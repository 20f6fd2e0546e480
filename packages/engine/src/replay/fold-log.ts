import type { TxId } from "@cairn/client";
import type { IndexStore } from "../index/index-store.ts";
import { emptyState, type IndexState, logOffset } from "../index/rows/index-state.ts";
import { type LogIdentity } from "../log/log-identity.ts";
import { followHistory, type LogHistory } from "../backup/log-with-backup.ts";

/**
 * Returns the state of an empty index to which the whole history of a log can be applied, starting with the first log
 * that it continues. Undefined if the beginning is neither in the log nor in a backup.
 */
export async function beginningOf(log: LogHistory, identity: LogIdentity): Promise<IndexState | undefined> {
  const { birth, name } = identity;
  if (birth === undefined) return undefined;
  if (birth.continues === undefined) return emptyState(identity);
  const [first] = (await log.earlier.all(birth)) ?? [];
  return first === undefined ? undefined : emptyState({ ...first.identity, name });
}

interface FoldOptions {
  readonly index: IndexStore;
  readonly log: LogHistory;
  readonly identity: LogIdentity;
  /** The last transaction to apply. The log, or a log that it continues, contains it. */
  readonly upTo: TxId;
  readonly signal: AbortSignal;
  readonly onApplied?: () => void;
}

/**
 * Applies the log to an index that no other task uses, up to exactly the given transaction and without a time limit. If
 * aborted, it ends early, after a complete transaction. Throws the errors of {@link followHistory} and of the index.
 */
export async function foldLog(options: FoldOptions): Promise<void> {
  const { index, log, identity, upTo, signal, onApplied } = options;
  if (index.state.txId >= upTo) return;
  const following = followHistory(log, identity, index.state, {
    upTo: upTo - logOffset(identity, index.state),
    maxMessages: 512,
    signal,
  });
  for await (const messages of following) {
    await index.apply(messages.slice(0, upTo - index.state.txId));
    onApplied?.();
    if (index.state.txId >= upTo || signal.aborted) break;
  }
}
