import type { TxId } from "@cairn/client";
import type { IndexAnswer, Peer } from "./ask-cluster.ts";

export interface SameId {
  readonly node: string;
  readonly peers: readonly Peer[];
}

/** Returns the ids that several running nodes share. */
export function sameIds(peers: readonly Peer[]): SameId[] {
  const byId = new Map<string, Peer[]>();
  for (const peer of peers) byId.set(peer.node, [...(byId.get(peer.node) ?? []), peer]);
  return [...byId].filter(([, same]) => same.length > 1).map(([node, same]) => ({ node, peers: same }));
}

/** The newest transaction that any of them has; the others wait until they have it. */
export function commonTransaction(peers: readonly Peer[]): TxId {
  // A halted node may have transactions that the log has lost.
  const following = peers.filter(({ status }) => status.phase === "ready" || status.phase === "replaying");
  return Math.max(0, ...following.map(({ status }) => status.index.txId ?? 0));
}

/** `differs` means that the digests are not all equal, and `none` means that there are no digests. */
export type DigestVerdict =
  | { readonly kind: "same"; readonly digest: string; readonly nodes: number }
  | { readonly kind: "differs"; readonly digests: readonly string[] }
  | { readonly kind: "none" };

/** Nodes with one index version. */
export interface VersionGroup {
  readonly version: number;
  readonly peers: readonly Peer[];
}

/** The group of version `own` comes first, the others by size. Digests are comparable only within a group. */
export function byIndexVersion(peers: readonly Peer[], own: number): VersionGroup[] {
  const groups = new Map<number, Peer[]>();
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

/** The number of nodes with a digest does not prove it right, so there is no majority vote. */
export function judgeDigests(answers: ReadonlyMap<string, IndexAnswer>): DigestVerdict {
  const given = [...answers.values()].flatMap(({ digest }) => (digest === undefined ? [] : [digest.digest]));
  const digests = [...new Set(given)].toSorted();
  const [digest] = digests;
  if (digest === undefined) return { kind: "none" };
  return digests.length === 1 ? { kind: "same", digest, nodes: given.length } : { kind: "differs", digests };
}

/**
 * Returns whether the request should be repeated for a later transaction, because a node's history no longer covers
 * this one.
 */
export function isOutdated(answers: ReadonlyMap<string, IndexAnswer>): boolean {
  return [...answers.values()].some(({ error }) => error?.code === "CONFLICT");
}
