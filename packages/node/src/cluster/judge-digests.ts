import type { TxId } from "@cairn/client";
import type { IndexAnswer, Peer } from "./ask-cluster.ts";

/** Nodes that cannot be told apart by their id. */
export interface SameId {
  readonly node: string;
  readonly peers: readonly Peer[];
}

/** Ids that more than one running node has. */
export function sameIds(peers: readonly Peer[]): SameId[] {
  const byId = new Map<string, Peer[]>();
  for (const peer of peers) byId.set(peer.node, [...(byId.get(peer.node) ?? []), peer]);
  return [...byId].filter(([, same]) => same.length > 1).map(([node, same]) => ({ node, peers: same }));
}

/** The transaction at which nodes are compared: the highest that any of them has; the others wait until they have it too. */
export function commonTransaction(peers: readonly Peer[]): TxId {
  // A node that stopped itself may hold what the log lost.
  const following = peers.filter(({ status }) => status.phase === "ready" || status.phase === "replaying");
  return Math.max(0, ...following.map(({ status }) => status.index.txId ?? 0));
}

/** Whether nodes have the same index. `differs`: of those that gave a digest, not all gave the same. */
export type DigestVerdict =
  | { readonly kind: "same"; readonly digest: string; readonly nodes: number }
  | { readonly kind: "differs"; readonly digests: readonly string[] }
  | { readonly kind: "none" };

/** Nodes whose indexes have one version. */
export interface VersionGroup {
  /** Undefined for nodes that do not say. */
  readonly version: number | undefined;
  readonly peers: readonly Peer[];
}

/** Nodes by the version of their index, those of `own` first, then the most numerous. Only within one can digests be compared. */
export function byIndexVersion(peers: readonly Peer[], own: number): VersionGroup[] {
  const groups = new Map<number | undefined, Peer[]>();
  for (const peer of peers) {
    const { version } = peer.status.index;
    groups.set(version, [...(groups.get(version) ?? []), peer]);
  }
  const rank = ({ version, peers: { length } }: VersionGroup): number =>
    version === own ? Number.POSITIVE_INFINITY : length;
  return [...groups]
    .map(([version, same]) => ({ version, peers: same }))
    .toSorted((a, b) => rank(b) - rank(a));
}

/** Compares what nodes answered. How many gave a digest says nothing of which is right, so no majority is looked for. */
export function judgeDigests(answers: ReadonlyMap<string, IndexAnswer>): DigestVerdict {
  const given = [...answers.values()].flatMap(({ digest }) => (digest === undefined ? [] : [digest.digest]));
  const digests = [...new Set(given)].toSorted();
  const [digest] = digests;
  if (digest === undefined) return { kind: "none" };
  return digests.length === 1 ? { kind: "same", digest, nodes: given.length } : { kind: "differs", digests };
}

/** Whether it is worth asking again at a later transaction: a history no longer told all of this one. */
export function outdated(answers: ReadonlyMap<string, IndexAnswer>): boolean {
  return [...answers.values()].some(({ error }) => error?.code === "CONFLICT");
}
