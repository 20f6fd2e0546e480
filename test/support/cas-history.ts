/** One response that a client received. */
export type Observation = { readonly client: number; readonly key: string } & (
  | {
      readonly kind: "read";
      /** The `min-tx` of the read. */
      readonly minTx: number;
      /** The revision of the document; null if there is none. */
      readonly revision: number | null;
      readonly value: string | null;
    }
  | {
      /**
       * A write that expected revision `expected` and became transaction `txId`: committed, or aborted because of
       * another write.
       */
      readonly kind: "written" | "lost";
      readonly expected: number | null;
      readonly value: string;
      readonly txId: number;
    }
);

/** A version of a key in the log. */
export interface Version {
  readonly revision: number;
  readonly value: string | null;
}

/**
 * Compares `seen` with the versions of each key in the log, oldest first, and returns the contradictions. Every
 * committed write must be in the log once and follow the revision that it expected; every version in the log must have
 * been reported to its writer; a write may be lost only to another write since that revision; and a read must return a
 * version of the key that is not older than its `min-tx`.
 */
export function checkHistory(
  seen: readonly Observation[],
  log: ReadonlyMap<string, readonly Version[]>,
): string[] {
  const problems: string[] = [];
  const acknowledged = new Set<number>();
  for (const one of seen) {
    const versions = log.get(one.key) ?? [];
    const name = `client ${one.client}, ${one.kind} ${one.key}`;
    if (one.kind === "read") {
      const newest = versions.findLast(({ revision }) => revision <= one.minTx)?.revision ?? 0;
      if ((one.revision ?? 0) < newest) problems.push(`${name}: ${one.revision} is older than ${newest}`);
      const known =
        one.revision === null || versions.some((version) => isSame(version, one.revision, one.value));
      if (!known) problems.push(`${name}: the key never had ${one.value} at ${one.revision}`);
      continue;
    }
    const at = versions.findIndex((version) => isSame(version, one.txId, one.value));
    if (one.kind === "lost") {
      if (versions.some(({ value }) => value === one.value))
        problems.push(`${name}: ${one.value} was lost, but is in the log`);
      const before = versions.findLast(({ revision }) => revision < one.txId)?.revision ?? null;
      if (before === one.expected) problems.push(`${name}: ${one.txId} was lost without a reason`);
      continue;
    }
    if (at < 0) problems.push(`${name}: ${one.value} at ${one.txId} is not in the log`);
    else if ((versions[at - 1]?.revision ?? null) !== one.expected) {
      problems.push(`${name}: ${one.txId} was written at ${one.expected}, which was stale`);
    }
    if (acknowledged.has(one.txId)) problems.push(`${name}: ${one.txId} was acknowledged twice`);
    acknowledged.add(one.txId);
  }
  for (const [key, versions] of log) {
    for (const { revision } of versions) {
      if (!acknowledged.has(revision)) problems.push(`${key}: ${revision} was never acknowledged`);
    }
  }
  return problems;
}

function isSame(version: Version, revision: number | null, value: string | null): boolean {
  return version.revision === revision && version.value === value;
}
