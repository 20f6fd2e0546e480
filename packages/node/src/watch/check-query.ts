import { CairnError } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import { bucketProblem, keyProblem } from "../text/document-key.ts";
import type { WatchQuery } from "./watch-event.ts";

/** Throws `REQUEST_INVALID` for a query that cannot be watched. */
export function checkQuery({ bucket, namespace, from, fromTime, heartbeatMs }: WatchQuery): void {
  const problem =
    (bucket === undefined ? undefined : bucketProblem(bucket)) ??
    (namespace === undefined ? undefined : keyProblem(namespace, "any")) ??
    (from === undefined || (Number.isSafeInteger(from) && from >= 0)
      ? undefined
      : `from must be a transaction id, not ${from}`) ??
    (fromTime === undefined ? undefined : fromTimeProblem(fromTime, from)) ??
    (heartbeatMs === undefined || heartbeatMs > 0
      ? undefined
      : `heartbeatMs must be a number of milliseconds above 0, not ${heartbeatMs}`);
  if (problem === undefined) return;
  throw new CairnError("REQUEST_INVALID", `Not a valid watch: ${problem}.`, {
    hint: "Use only these parameters: bucket, namespace, the transaction after which the watch begins (from), that transaction's time (from-time), and heartbeat.",
  });
}

function fromTimeProblem(fromTime: string, from: TxId | undefined): string | undefined {
  if (from === undefined) return "from-time requires from, which must be the transaction with this time";
  // A malformed time never equals the time of a transaction, so the log would mistakenly be reported as having lost the
  // transaction.
  return Number.isNaN(Date.parse(fromTime))
    ? `${JSON.stringify(fromTime)} is not an ISO 8601 time`
    : undefined;
}
