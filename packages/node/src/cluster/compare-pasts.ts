import type { ClusterNode, TxId } from "@cairn/client";
import type { Peer } from "./ask-cluster.ts";

/** A node's chains at the transaction, and the version of its index. */
export type Past = NonNullable<ClusterNode["past"]>;

/** The histories of the nodes of one log at one transaction. */
export interface PastComparison {
  readonly txId: TxId;
  /** The histories, by instance. Nodes without a value at the transaction are omitted. */
  readonly pasts: ReadonlyMap<string, Past>;
  /** `history`: different messages. `effects`: one index version derived different results from the same messages. */
  readonly differ: "history" | "effects" | undefined;
}

/**
 * Compares the histories of these nodes at the newest transaction of which the most of them report the chains (which
 * cover everything before it): the newest, or a link. Undefined if no two nodes have one in common.
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
  const [best] = [...known].toSorted(([a, ofA], [b, ofB]) => ofB.size - ofA.size || b - a);
  if (best === undefined || best[1].size < 2) return undefined;
  const [txId, pasts] = best;
  return { txId, pasts, differ: differenceAmong([...pasts.values()]) };
}

function differenceAmong(pasts: readonly Past[]): PastComparison["differ"] {
  if (new Set(pasts.map(({ history }) => history)).size > 1) return "history";
  const versions = new Set(pasts.map(({ version }) => version));
  const effects = new Set(pasts.map((past) => `${past.version} ${past.effects}`));
  return effects.size > versions.size ? "effects" : undefined;
}
