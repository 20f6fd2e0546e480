import { CairnError, isCairnError } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import { DEFAULT_WAIT_MS, type NodeApi } from "../../api/node-api.ts";
import { inTime, LATE } from "../../concurrency/in-time.ts";
import type { CommitResult } from "../../index/apply/recent-outcomes.ts";
import { TimeLimit } from "../../concurrency/time-limit.ts";
import { RequestError } from "../answers/error-response.ts";

/** How long a request waits in all, by its parameter `timeout`. */
export function timeLimit(timeoutMs = DEFAULT_WAIT_MS): TimeLimit {
  return new TimeLimit(timeoutMs);
}

/**
 * Waits until a transaction that was just submitted is indexed. It is stored even if that takes too long or the node stops, so the error contains
 * its id: sending it again would apply it twice.
 */
export async function awaitSubmitted(api: NodeApi, id: TxId, limit: TimeLimit): Promise<CommitResult> {
  try {
    return await api.commitResult(id, { timeoutMs: limit.leftMs });
  } catch (error) {
    if (!isCairnError(error)) throw error;
    const message =
      error.code === "TX_TIMEOUT"
        ? `Transaction ${id} is stored, but was not indexed within ${limit.ms} ms.`
        : error.message;
    throw new RequestError(error.code, message, {
      hint: `The transaction is stored; GET /api/v1/tx/${id} tells what becomes of it, here or at another node, and cairn status how far the node is.`,
      cause: error,
      details: { txId: id },
    });
  }
}

/** What a checkpoint store answers, or `STORE_UNREACHABLE` once the limit has passed. */
export async function storeInTime<T>(answer: Promise<T>, limit: TimeLimit): Promise<T> {
  const given = await inTime(answer, limit.leftMs);
  if (given !== LATE) return given;
  throw new CairnError("STORE_UNREACHABLE", `The checkpoint store did not answer within ${limit.ms} ms.`, {
    hint: "Try again, or wait longer with timeout=; look whether the store can be reached.",
  });
}
