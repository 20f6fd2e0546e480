import type { Failure, LogBackupStatus, TxId } from "@cairn/client";
import { formatCount, formatDuration, formatNumberOf } from "@cairn/text";

/** Formats what would be lost with the log's servers: `3 transactions, 41 s`; perhaps less after a failed look. */
export function exposedText(
  { exposed, lastFailure }: Pick<LogBackupStatus, "exposed"> & { readonly lastFailure: Failure | null },
  now: number,
): string {
  const { transactions, since } = exposed;
  if (transactions === null) return "unknown";
  if (transactions === 0) return "nothing";
  const atMost = lastFailure === null ? "" : "at most ";
  const count = atMost + formatNumberOf(transactions, "transaction");
  return since === null ? count : `${count}, ${formatDuration(Math.max(0, now - Date.parse(since)))}`;
}

/** Formats a run of transactions: `1 to 1,234`. */
export function rangeText({ first, last }: { readonly first: TxId; readonly last: TxId }): string {
  return first === last ? formatCount(first) : `${formatCount(first)} to ${formatCount(last)}`;
}
