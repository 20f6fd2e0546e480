import type { Chains, ChainValue, TxId } from "@cairn/client";

export interface Divergence {
  /**
   * `history` means that the indexes applied different messages. `effects` means that they applied the same messages
   * with different results.
   */
  readonly kind: "history" | "effects";
  /** The newest transaction where they are known to agree (0 for none); `differAt` is the oldest where they differ. */
  readonly agreeAt: TxId;
  readonly differAt: TxId;
}

/**
 * Compares another index's chains with those of this index. `own` returns this index's known value at a transaction.
 * The newest transaction at which both indexes know their values is decisive, because these values cover everything
 * before it. Older values show approximately where the indexes diverge. Returns undefined if the indexes agree, or if
 * there is no such transaction. `of` is what to compare: the messages, or also their effects.
 */
export async function compareChains(
  own: (txId: TxId) => Promise<ChainValue | undefined>,
  theirs: Chains,
  of: Divergence["kind"],
): Promise<Divergence | undefined> {
  let found: Divergence | undefined;
  for (const value of theirs) {
    const known = await own(value.txId);
    if (known === undefined) continue;
    const kind = differenceOf(known, value, of);
    if (kind === undefined) return found === undefined ? undefined : { ...found, agreeAt: value.txId };
    found = { kind, agreeAt: 0, differAt: value.txId };
  }
  return found;
}

function differenceOf(
  left: ChainValue,
  right: ChainValue,
  of: Divergence["kind"],
): Divergence["kind"] | undefined {
  if (left.history !== right.history) return "history";
  return of === "effects" && left.effects !== right.effects ? "effects" : undefined;
}
