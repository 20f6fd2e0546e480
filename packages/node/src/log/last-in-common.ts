import type { TxId } from "@cairn/client";

/**
 * Returns the last transaction, from `low` to `high`, that two histories have in common. Histories that have diverged
 * never converge again, so a binary search finds it. `differsAt` compares them at the last comparable transaction after
 * `after` and up to `upTo`: it returns that transaction if they differ there, and otherwise undefined.
 */
export async function lastInCommon(
  low: TxId,
  high: TxId,
  differsAt: (upTo: TxId, after: TxId) => Promise<TxId | undefined>,
): Promise<TxId> {
  let [common, end] = [low, high];
  while (common < end) {
    const middle = Math.ceil((common + end) / 2);
    const differing = await differsAt(middle, common);
    if (differing === undefined) common = middle;
    else end = differing - 1;
  }
  return common;
}
