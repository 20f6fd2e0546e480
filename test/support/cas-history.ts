/** What a client was told, in the order in which it was. */
export type Observation = { readonly client: number; readonly key: string } & (
  | {
      readonly kind: "read";
      /** Read with this min-tx. */
      readonly minTx: number;
      /** Null where there was nothing. */
      readonly revision: number | null;
      readonly value: string | null;
    }
  | {
      /** A write at revision `expected` that succeeded, or was lost as transaction `txId`. */
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
 * What of `seen` does not agree with the versions that the log gives each key, oldest first. Every success is in the log once and follows
 * the revision that it was based on; every version was told to whoever wrote it; a write was lost only to one that came between; and a
 * read shows a version of the key that is not older than what it asked to see.
 */
export function checkHistory(
  seen: readonly Observation[],
  log: ReadonlyMap<string, readonly Version[]>,
): string[] {
  const problems: string[] = [];
  const told = new Set<number>();
  for (const one of seen) {
    const versions = log.get(one.key) ?? [];
    const name = `client ${one.client}, ${one.kind} ${one.key}`;
    if (one.kind === "read") {
      const newest = versions.findLast(({ revision }) => revision <= one.minTx)?.revision ?? 0;
      if ((one.revision ?? 0) < newest) problems.push(`${name}: ${one.revision} went back behind ${newest}`);
      const known =
        one.revision === null || versions.some((version) => isSame(version, one.revision, one.value));
      if (!known) problems.push(`${name}: it never had ${one.value} at ${one.revision}`);
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
    if (told.has(one.txId)) problems.push(`${name}: ${one.txId} was told twice`);
    told.add(one.txId);
  }
  for (const [key, versions] of log) {
    for (const { revision } of versions) {
      if (!told.has(revision)) problems.push(`${key}: nobody was told of ${revision}`);
    }
  }
  return problems;
}

function isSame(version: Version, revision: number | null, value: string | null): boolean {
  return version.revision === revision && version.value === value;
}
