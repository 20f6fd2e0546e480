import { CairnError, isCairnError, type Deadline } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import type { CommitResult } from "../index/apply/recent-outcomes.ts";
import type { NodeApi, SubmittedTransaction } from "./node-api.ts";

/**
 * Waits until a submitted transaction is indexed. Errors contain its id, because it is stored in any case: clients then
 * read its outcome, as `reading` says, instead of sending it again, which could apply it twice.
 */
export async function awaitSubmitted(
  node: Pick<NodeApi, "commitResult">,
  submitted: SubmittedTransaction,
  limit: Deadline,
  reading: (txId: TxId) => string,
): Promise<CommitResult> {
  const { txId } = submitted;
  try {
    return await node.commitResult(submitted, { timeoutMs: limit.leftMs });
  } catch (error) {
    if (!isCairnError(error) || error.code === "LOG_REGRESSED" || error.code === "OUTCOME_REMOVED")
      throw error;
    const message =
      error.code === "TX_TIMEOUT"
        ? `Transaction ${txId} is stored, but was not indexed within ${limit.limitMs} ms.`
        : error.message;
    throw new CairnError(error.code, message, {
      hint: `Do not send the transaction again, because it is stored. Read its outcome with ${reading(txId)}, from this node or another one. cairn status shows the node's progress.`,
      cause: error,
      details: { txId },
    });
  }
}
