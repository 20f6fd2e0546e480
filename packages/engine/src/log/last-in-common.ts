import type { TxId } from "@cairn/client";

/**
 * Returns the last transaction, from `low` to `high`, that two histories share. A binary search finds it, because they
 * never converge again. `differsAt` returns the last comparable transaction in (`after`, `upTo`] if they differ there.
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
