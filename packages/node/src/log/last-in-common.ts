import type { TxId } from "@cairn/client";

/**
 * Returns the last transaction, from `low` to `high`, that two histories have in common; as they never converge again,
 * by binary search. `differsAt` returns the last comparable transaction in (`after`, `upTo`] if they differ there.
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
