import { isDeepStrictEqual } from "node:util";
import type { LogHistory, LoggedTransaction } from "./log-history.ts";
import {
  type FoundVersion,
  type Observation,
  type ReadObservation,
  type WriteObservation,
} from "./observation.ts";

/**
 * The tolerance (ms), which is necessary because the log's server and this process read the same clock, but not at the
 * same instant.
 */
const CLOCK_MS = 20;

/** Returns a sentence for each observation that contradicts the log. */
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
      return first?.outcome === "committed"
        ? `the response was a conflict, but transaction ${first.txId} committed`
        : undefined;
    case "stored":
    case "outcome": {
      const { txId } = answer;
      const logged = log.transactions[txId - 1];
      if (first === undefined || logged === undefined) return "it was acknowledged, but is not in the log";
      const isIt = id === undefined ? logged.documents.includes(value) : logged.id === id;
      if (!isIt) return `transaction ${txId} is a different one; the write is transaction ${first.txId}`;
      if (answer.kind === "stored") return undefined;
      return answer.committed === (first.outcome === "committed")
        ? undefined
        : `its outcome was: ${first.outcome}`;
    }
  }
}

function wrongRead({ read, minTxId, receivedAt }: ReadObservation, log: LogHistory): string | undefined {
  const maxTxId = log.lastAt(receivedAt + CLOCK_MS);
  switch (read.of) {
    case "get":
      return wasPossible(read.key, read.found, minTxId, maxTxId, log)
        ? undefined
        : `the key was never in this state from ${minTxId} to ${maxTxId}`;
    case "as-of":
      return isDeepStrictEqual(log.at(read.key, read.txId), read.found)
        ? undefined
        : `the key was not in this state at ${read.txId}`;
    case "history": {
      const versions = log.versions(read.key);
      const shown = read.versions.toReversed();
      const isPrefix = isDeepStrictEqual(shown, versions.slice(0, shown.length));
      const next = versions[shown.length]?.revision ?? Number.POSITIVE_INFINITY;
      const newest = shown.at(-1)?.revision ?? 0;
      return isPrefix && next > minTxId && newest <= maxTxId
        ? undefined
        : `the key had no such history from ${minTxId} to ${maxTxId}`;
    }
    case "list": {
      if (read.txId < minTxId || read.txId > maxTxId)
        return `the list is as of ${read.txId}, which is not from ${minTxId} to ${maxTxId}`;
      return isDeepStrictEqual(log.list(read.txId, read.where), read.documents)
        ? undefined
        : `the list differs from the documents at ${read.txId}: ${JSON.stringify(log.list(read.txId, read.where))}`;
    }
  }
}

/** Returns whether a key was in this state after some transaction from `minTxId` to `maxTxId`. */
function wasPossible(
  key: string,
  found: FoundVersion | null,
  minTxId: number,
  maxTxId: number,
  log: LogHistory,
): boolean {
  if (maxTxId < minTxId) return false;
  const versions = log.versions(key);
  if (found === null) {
    const isDeleted = ({ revision, json }: FoundVersion): boolean =>
      json === undefined && revision > minTxId && revision <= maxTxId;
    return log.at(key, minTxId) === null || versions.some(isDeleted);
  }
  const at = versions.findIndex((version) => isDeepStrictEqual(version, found));
  const next = versions[at + 1]?.revision ?? Number.POSITIVE_INFINITY;
  return at >= 0 && found.revision <= maxTxId && next > minTxId;
}
