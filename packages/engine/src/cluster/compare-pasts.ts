import type { ClusterNode, TxId } from "@cairn/client";
import type { Peer } from "./ask-cluster.ts";

/** A node's chains at the transaction, and the version of its index. */
type Past = NonNullable<ClusterNode["past"]>;

/** The histories of the nodes of one log at one transaction. */
export interface PastComparison {
  readonly txId: TxId;
  /** The histories, by instance. Nodes without a value at the transaction are omitted. */
  readonly pasts: ReadonlyMap<string, Past>;
  /** `history`: different messages. `effects`: one index version derived different results from the same messages. */
  readonly differ: "history" | "effects" | undefined;
}

/**
 * Compares the histories of nodes at one transaction of which at least two report the chains, which cover everything
 * before it. Those at which nodes differ come first, then those of the most nodes, then the newest.
 */
export function comparePasts(peers: readonly Peer[]): PastComparison | undefined {
  const known = new Map<TxId, Map<string, Past>>();
  for (const { instance, status } of peers) {
    const { chains, version } = status.index;
    if (status.phase !== "ready" && status.phase !== "replaying") continue;
    for (const value of chains)
      known.set(
        value.txId,
        (known.get(value.txId) ?? new Map<string, Past>()).set(instance, { ...value, version }),
      );
  }
  return [...known]
    .filter(([, pasts]) => pasts.size > 1)
    .map(([txId, pasts]) => ({ txId, pasts, differ: differenceAmong([...pasts.values()]) }))
    .toSorted((a, b) => rank(b) - rank(a) || b.pasts.size - a.pasts.size || b.txId - a.txId)[0];
}

function rank({ differ }: PastComparison): number {
  return differ === undefined ? 0 : 1;
}

function differenceAmong(pasts: readonly Past[]): PastComparison["differ"] {
  if (new Set(pasts.map(({ history }) => history)).size > 1) return "history";
  const versions = new Set(pasts.map(({ version }) => version));
  const effects = new Set(pasts.map((past) => `${past.version} ${past.effects}`));
  return effects.size > versions.size ? "effects" : undefined;
}
