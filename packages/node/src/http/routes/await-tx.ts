import { isCairnError } from "@cairn/kv";
import type { TxId, TxOutcome } from "@cairn/client";
import type { NodeApi, ReadOptions } from "../../api/node-api.ts";
import { RequestError } from "../answers/error-response.ts";

/** Waits for the transaction that a read asks to see. */
export async function awaitMinTx(api: NodeApi, options: ReadOptions): Promise<void> {
  if (options.minTx === undefined) return;
  try {
    await api.await(options.minTx, waitOptions(options.timeoutMs));
  } catch (error) {
    // The index is there already, at an id that no transaction has (the birth record's).
    if (!isCairnError(error, "NOT_FOUND")) throw error;
  }
}

/**
 * Waits for a transaction just submitted. It is stored also where that takes too long or the node stops meanwhile, so the error tells its
 * id: whoever sent it again would have it applied twice.
 */
export async function awaitSubmitted(
  api: NodeApi,
  id: TxId,
  timeoutMs: number | undefined,
): Promise<TxOutcome> {
  try {
    return await api.await(id, waitOptions(timeoutMs));
  } catch (error) {
    if (!isCairnError(error)) throw error;
    throw new RequestError(error.code, error.message, {
      hint: `The transaction is stored; GET /api/v1/tx/${id} tells what becomes of it, here or at another node, and cairn status how far the node is.`,
      cause: error,
      details: { txId: id },
    });
  }
}

/** How long to wait, in the form that the node takes. */
export function waitOptions(timeoutMs: number | undefined): { timeoutMs?: number } {
  return timeoutMs === undefined ? {} : { timeoutMs };
}
