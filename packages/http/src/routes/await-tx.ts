import { LIMITS } from "@cairn/client/protocol";
import { CairnError, Deadline, TIMED_OUT, withTimeout } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import { awaitSubmitted, type CommitResult } from "@cairn/engine";
import type { Call } from "../permits/call.ts";
import type { Query } from "../requests/address.ts";
import type { WRITE_PARAMETERS } from "../requests/parameters.ts";

export type WriteCall = Call<Query<typeof WRITE_PARAMETERS>>;

/** Starts the time limit for all waits of a request, according to its parameter `timeout`. */
export function timeLimit(timeoutMs: number = LIMITS.waitMs): Deadline {
  return new Deadline(timeoutMs);
}

export async function submit(
  call: WriteCall,
  transaction: Parameters<WriteCall["submit"]>[0],
  isAwaited = call.query.await !== false,
): Promise<{ readonly txId: number; readonly result?: CommitResult }> {
  const limit = timeLimit(call.query.timeoutMs);
  const submitted = await call.submit(transaction, { timeoutMs: limit.leftMs });
  const { txId } = submitted;
  return isAwaited
    ? { txId, result: await awaitSubmitted(call.api, submitted, limit, outcomeRequest) }
    : { txId };
}

export const outcomeRequest = (txId: TxId): string => `GET /api/v1/tx/${txId}`;

/** Returns the result of a call to a checkpoint store. Throws `STORE_UNREACHABLE` once the limit has passed. */
export async function storeInTime<T>(answer: Promise<T>, limit: Deadline): Promise<T> {
  const given = await withTimeout(answer, limit.leftMs);
  if (given !== TIMED_OUT) return given;
  throw new CairnError(
    "STORE_UNREACHABLE",
    `The checkpoint store did not respond within ${limit.limitMs} ms.`,
    "Check whether the store can be reached, and try again, or wait longer, for example with timeout=PT30S.",
  );
}
