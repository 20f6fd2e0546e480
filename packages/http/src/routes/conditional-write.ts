import { isCairnError, wait, backoffMs, systemRandom, type Deadline, TIMED_OUT, Turns } from "@cairn/kv";
import type { Revision, TxOperation } from "@cairn/client";
import type { ReadOptions, SubmittedTransaction, CommitResult } from "@cairn/engine";
import { RequestError } from "../answers/request-error.ts";
import type { Call } from "../permits/call.ts";
import type { WRITE_PARAMETERS } from "../requests/parameters.ts";
import type { Query } from "../requests/address.ts";
import {
  comparedRevision,
  isLost,
  parsePreconditions,
  type Preconditions,
  readDecision,
} from "../requests/preconditions.ts";
import { awaitSubmitted, timeLimit } from "./await-tx.ts";

/** A write whose request may have preconditions. */
export interface ConditionalWrite {
  /** What the write changes. Writes of the same subject on this node do not compete with each other. */
  readonly subject: string;
  /** Returns the present revision of what the preconditions concern; undefined if there is none. */
  readonly current: (options: ReadOptions) => Promise<Revision | undefined>;
  /** Returns the operations, which require a revision (null: none may exist) unless it is undefined. */
  readonly operations: (expected: Revision | null | undefined) => readonly TxOperation[];
  /** Creates the error if the preconditions do not hold for a revision. */
  readonly lost: (revision: Revision | undefined) => RequestError;
}

export interface SubmittedWrite {
  readonly submitted: SubmittedTransaction;
  readonly result?: CommitResult;
}

/** The pauses before a write that was overtaken by one of another node is tried again. */
const RETRY = { firstMs: 5, maxMs: 500 };

const turns = new Turns();

/**
 * Submits a write and, unless the request has `await=false`, waits until it is indexed. A transaction can require only
 * a single revision, or none. Any other precondition (such as `If-Match: *`) is evaluated against the present revision,
 * which the transaction then requires. If another write comes before the transaction, the precondition may still hold:
 * it is evaluated again and another transaction is submitted, until the precondition fails or the limit ends. Nothing
 * is applied twice, because each transaction but the last one is known to have been aborted.
 *
 * Such writes take turns on a node, and pause if a write of another node came first. Otherwise, most of the transactions
 * of n concurrent writes would be aborted, and there would be about n² of them.
 */
export async function writeConditionally(
  call: Call<Query<typeof WRITE_PARAMETERS>>,
  write: ConditionalWrite,
): Promise<SubmittedWrite> {
  const preconditions = parsePreconditions(call.request.headers);
  const limit = timeLimit(call.query.timeoutMs);
  const compared = preconditions === undefined ? undefined : comparedRevision(preconditions);
  if (preconditions !== undefined && compared === undefined) {
    const written = await turns.take(
      write.subject,
      limit,
      async () => await writeEvaluated(call, write, preconditions, limit),
    );
    if (written === TIMED_OUT) throw tooLate("because other writes came first", limit);
    return written;
  }
  const submitted = await call.submit({ ops: write.operations(compared) }, { timeoutMs: limit.leftMs });
  if (call.query.await === false) return { submitted };
  return { submitted, result: await awaitSubmitted(call.api, submitted, limit) };
}

async function writeEvaluated(
  call: Call<Query<typeof WRITE_PARAMETERS>>,
  write: ConditionalWrite,
  preconditions: Preconditions,
  limit: Deadline,
): Promise<SubmittedWrite> {
  // The index of this node may lack writes that another node has acknowledged.
  let state: ReadOptions = { linearizable: true };
  for (let overtaken = 0; ; overtaken += 1) {
    const revision = await currentInTime(write, state, limit);
    if (readDecision(preconditions, revision) !== "send") throw write.lost(revision);
    const ops = write.operations(revision ?? null);
    const submitted = await call.submit({ ops }, { timeoutMs: limit.leftMs });
    if (call.query.await === false) return { submitted };
    const result = await awaitSubmitted(call.api, submitted, limit);
    const { txId, committed, reason } = result.outcome;
    if (committed || !isLost(reason)) return { submitted, result };
    if (limit.leftMs === 0) throw tooLate("because others wrote before it each time", limit);
    state = { minTx: txId };
    await wait(Math.min(limit.leftMs, backoffMs(overtaken, RETRY, systemRandom())));
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
