import type { Chains, ChainValue, TxId } from "@cairn/client";

/** The difference between the histories of two indexes of one log. */
export interface Divergence {
  /** `history`: the indexes applied different messages; `effects`: they applied the same messages differently. */
  readonly kind: "history" | "effects";
  /** The newest transaction up to which the two are known to agree (0: none), and the oldest at which they are known to differ. */
  readonly agreeAt: TxId;
  readonly differAt: TxId;
}

/**
 * Compares another index's chains with one's own, whose value at a transaction `own` returns, if known. The newest value that both know
 * decides, since it covers everything before it; older values show roughly where the two part. Returns undefined if they agree, or share no
 * transaction with known values. Effects are compared only between indexes of the same version.
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
