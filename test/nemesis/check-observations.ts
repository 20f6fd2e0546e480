import { isDeepStrictEqual } from "node:util";
import type { LogHistory, LoggedTransaction } from "./log-history.ts";
import {
  type FoundVersion,
  type Observation,
  type ReadObservation,
  type WriteObservation,
} from "./observation.ts";

/** The log's server and this process read one clock, but not at one instant. */
const CLOCK_MS = 20;

/** What of `seen` the log does not allow: a sentence each. */
export function violationsOf(seen: readonly Observation[], log: LogHistory): string[] {
  const byDocument = new Map<string, LoggedTransaction[]>();
  for (const transaction of log.transactions) {
    for (const document of transaction.documents)
      byDocument.set(document, [...(byDocument.get(document) ?? []), transaction]);
  }
  return seen.flatMap((one) => {
    const wrong = one.kind === "write" ? wrongWrite(one, log, byDocument) : wrongRead(one, log);
    return wrong === undefined ? [] : [`client ${one.client}: ${wrong}; ${JSON.stringify(one)}`];
  });
}

function wrongWrite(
  { id, value, answer }: WriteObservation,
  log: LogHistory,
  byDocument: ReadonlyMap<string, readonly LoggedTransaction[]>,
): string | undefined {
  const stored = (byDocument.get(value) ?? []).filter(({ outcome }) => outcome !== "duplicate");
  const first = id === undefined ? stored[0] : log.ofId(id);
  if (stored.length > 1) return `it is in the log as ${stored.map(({ txId }) => txId).join(" and ")}`;
  switch (answer.kind) {
    case "unsent":
    case "unknown":
      return undefined;
    case "conflict":
      return first?.outcome === "committed" ? `a conflict, but ${first.txId} committed` : undefined;
    case "stored":
    case "outcome": {
      const { txId } = answer;
      const logged = log.transactions[txId - 1];
      if (first === undefined || logged === undefined) return "it was acknowledged and is not in the log";
      const isIt = id === undefined ? logged.documents.includes(value) : logged.id === id;
      if (!isIt) return `transaction ${txId} is another one, it is ${first.txId}`;
      if (answer.kind === "stored") return undefined;
      return answer.committed === (first.outcome === "committed") ? undefined : `it ${first.outcome}`;
    }
  }
}

function wrongRead({ read, least, receivedAt }: ReadObservation, log: LogHistory): string | undefined {
  const most = log.lastAt(receivedAt + CLOCK_MS);
  switch (read.of) {
    case "get":
      return wasPossible(read.key, read.found, least, most, log)
        ? undefined
        : `never so from ${least} to ${most}`;
    case "as-of":
      return isDeepStrictEqual(log.at(read.key, read.txId), read.found)
        ? undefined
        : `was not so at ${read.txId}`;
    case "history": {
      const versions = log.versions(read.key);
      const shown = read.versions.toReversed();
      const isPrefix = isDeepStrictEqual(shown, versions.slice(0, shown.length));
      const next = versions[shown.length]?.revision ?? Number.POSITIVE_INFINITY;
      const newest = shown.at(-1)?.revision ?? 0;
      return isPrefix && next > least && newest <= most ? undefined : `no history from ${least} to ${most}`;
    }
    case "list": {
      if (read.txId < least || read.txId > most)
        return `a list of ${read.txId}, not from ${least} to ${most}`;
      return isDeepStrictEqual(log.list(read.txId, read.where), read.documents)
        ? undefined
        : `not what there was at ${read.txId}: ${JSON.stringify(log.list(read.txId, read.where))}`;
    }
  }
}

/** Whether a key was in this state after some transaction from `least` to `most`. */
function wasPossible(
  key: string,
  found: FoundVersion | null,
  least: number,
  most: number,
  log: LogHistory,
): boolean {
  if (most < least) return false;
  const versions = log.versions(key);
  if (found === null) {
    const isDeleted = ({ revision, json }: FoundVersion): boolean =>
      json === undefined && revision > least && revision <= most;
    return log.at(key, least) === null || versions.some(isDeleted);
  }
  const at = versions.findIndex((version) => isDeepStrictEqual(version, found));
  const next = versions[at + 1]?.revision ?? Number.POSITIVE_INFINITY;
  return at >= 0 && found.revision <= most && next > least;
}
