import type { Revision, TxOperation } from "@cairn/client";
import type { SubmittedTransaction, CommitResult } from "@cairn/engine";
import type { Call } from "../permits/call.ts";
import type { WRITE_PARAMETERS } from "../requests/parameters.ts";
import type { Query } from "../requests/address.ts";
import { requiredRevision } from "../requests/preconditions.ts";
import { awaitSubmitted, timeLimit } from "./await-tx.ts";

export interface SubmittedWrite {
  readonly submitted: SubmittedTransaction;
  readonly result?: CommitResult;
}

/**
 * Submits a write and, unless the request has `await=false`, waits until it is indexed. `operations` returns its
 * operations, which require a revision (null: none may exist) unless it is undefined.
 */
export async function writeConditionally(
  call: Call<Query<typeof WRITE_PARAMETERS>>,
  operations: (required: Revision | null | undefined) => readonly TxOperation[],
): Promise<SubmittedWrite> {
  const required = requiredRevision(call.request);
  const limit = timeLimit(call.query.timeoutMs);
  const submitted = await call.submit({ ops: operations(required) }, { timeoutMs: limit.leftMs });
  if (call.query.await === false) return { submitted };
  return { submitted, result: await awaitSubmitted(call.api, submitted, limit) };
}
