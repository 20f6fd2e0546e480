import type { Chains, ChainValue, TxId } from "@cairn/client";

/** That two indexes of one log do not have the same past. */
export interface Divergence {
  /** `history`: their messages differ; `effects`: they have the same messages, and applied them differently. */
  readonly kind: "history" | "effects";
  /** The newest transaction up to which both are known to have the same past (0: none is known), and the first known to differ. */
  readonly agreeAt: TxId;
  readonly differAt: TxId;
}

/**
 * Compares what somebody else says of their chains with one's own: `own` tells the value at a transaction where it is known. The newest value
 * that both know decides, since it stands for everything before it; the older ones tell roughly where the two part. Undefined where the two
 * agree, or share no transaction at which both values are known. Effects count only where both indexes have the same version.
 */
export async function compareChains(
  own: (txId: TxId) => Promise<ChainValue | undefined>,
  theirs: Chains,
  sameVersion: boolean,
): Promise<Divergence | undefined> {
  let found: Divergence | undefined;
  for (const value of theirs) {
    const known = await own(value.txId);
    if (known === undefined) continue;
    const kind = differenceOf(known, value, sameVersion);
    if (kind === undefined) return found === undefined ? undefined : { ...found, agreeAt: value.txId };
    found = { kind, agreeAt: 0, differAt: value.txId };
  }
  return found;
}

function differenceOf(
  left: ChainValue,
  right: ChainValue,
  sameVersion: boolean,
): Divergence["kind"] | undefined {
  if (left.history !== right.history) return "history";
  return sameVersion && left.effects !== right.effects ? "effects" : undefined;
}
