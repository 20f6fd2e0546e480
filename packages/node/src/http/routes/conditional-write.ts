import { isCairnError } from "@cairn/kv";
import type { Revision, TxOperation } from "@cairn/client";
import type { ReadOptions } from "../../api/node-api.ts";
import type { Deadline } from "../../concurrency/time-limit.ts";
import type { CommitResult } from "../../index/apply/recent-outcomes.ts";
import type { SubmittedTransaction } from "../../log/submit-transaction.ts";
import { RequestError } from "../answers/request-error.ts";
import type { RouteApi } from "../permits/permitted-api.ts";
import { comparedRevision, isLost, type Preconditions, readDecision } from "../requests/preconditions.ts";
import { awaitSubmitted } from "./await-tx.ts";

/** A write that may have preconditions. */
export interface ConditionalWrite {
  readonly preconditions: Preconditions | undefined;
  /** Returns the present revision of what the preconditions concern; undefined if there is none. */
  readonly current: (options: ReadOptions) => Promise<Revision | undefined>;
  /** Returns the operations, which require a revision (null: none may exist) unless it is undefined. */
  readonly operations: (expected: Revision | null | undefined) => readonly TxOperation[];
  /** Creates the error if the preconditions do not hold for a revision. */
  readonly lost: (revision: Revision | undefined) => RequestError;
}

/** What became of a write. There is no result if it was not awaited. */
export interface SubmittedWrite {
  readonly submitted: SubmittedTransaction;
  readonly result?: CommitResult;
}

/**
 * Submits a write and, if `awaits` is true, waits until it is indexed. A transaction can require only a single revision,
 * or none. Any other precondition (such as `If-Match: *`) is evaluated against the present revision, which the
 * transaction then requires. If another write comes before the transaction, the precondition may still hold. Therefore,
 * it is evaluated again and another transaction is submitted, until the precondition fails or the limit ends. Nothing is
 * applied twice, because each transaction but the last one is known to have been aborted.
 */
export async function writeConditionally(
  api: RouteApi,
  write: ConditionalWrite,
  { awaits, limit }: { readonly awaits: boolean; readonly limit: Deadline },
): Promise<SubmittedWrite> {
  const { preconditions } = write;
  const compared = preconditions === undefined ? undefined : comparedRevision(preconditions);
  const evaluated = compared === undefined ? preconditions : undefined;
  // The index of this node may lack writes that another node has acknowledged.
  let state: ReadOptions = { linearizable: true };
  for (;;) {
    let expected = compared;
    if (evaluated !== undefined) {
      const revision = await currentInTime(write, state, limit);
      if (readDecision(evaluated, revision) !== "send") throw write.lost(revision);
      expected = revision ?? null;
    }
    const submitted = await api.submit({ ops: write.operations(expected) }, { timeoutMs: limit.leftMs });
    if (!awaits) return { submitted };
    const result = await awaitSubmitted(api, submitted, limit);
    const { txId, committed, reason } = result.outcome;
    if (committed || evaluated === undefined || !isLost(reason)) return { submitted, result };
    if (limit.leftMs === 0) throw tooLate("because others wrote before it each time", limit);
    state = { minTx: txId };
  }
}

async function currentInTime(
  { current }: ConditionalWrite,
  state: ReadOptions,
  limit: Deadline,
): Promise<Revision | undefined> {
  try {
    return await current({ ...state, timeoutMs: limit.leftMs });
  } catch (error) {
    // Such a node accepts no writes, which the submission reports better than this read.
    if (isCairnError(error, "LOG_READ_ONLY")) return await current({});
    if (!isCairnError(error, "TX_TIMEOUT")) throw error;
    throw tooLate("because the present revision could not be determined", limit, error);
  }
}

function tooLate(why: string, { limitMs }: Deadline, cause?: unknown): RequestError {
  return new RequestError("TX_TIMEOUT", `Nothing was written within ${limitMs} ms, ${why}.`, {
    hint: "Send the request again, or allow more time with timeout=. cairn status shows whether the log can be reached and how far the node is behind it.",
    cause,
  });
}
