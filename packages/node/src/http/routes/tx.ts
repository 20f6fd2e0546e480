import { CairnError, isCairnError } from "@cairn/kv";
import type { NodeApi, ReadOptions } from "../../node-api.ts";
import type { TxId, TxOutcome } from "../../tx-log/transaction.ts";
import { validateTransaction } from "../../tx-log/validate-transaction.ts";
import { RequestError } from "../error-response.ts";
import { duration, flag, parseQuery, READ_PARAMETERS, readOptions, txId } from "../query.ts";
import { jsonBody } from "../request-body.ts";
import type { RegisterRoutes } from "./routes.ts";
import { batchRoute } from "./tx-batch.ts";

/** POST /api/v1/tx, POST /api/v1/tx/batch and GET /api/v1/tx/{id}. */
export const txRoutes: RegisterRoutes = (app, api, options) => {
  app.post("/api/v1/tx", async (request, reply) => {
    const query = parseQuery(request.url, { await: flag, timeout: duration });
    const transaction = jsonBody(request);
    validateTransaction(transaction);
    const submitted = await api.submit(transaction);
    if (query.await !== true) return reply.code(202).send(submitted);
    const outcome = await awaitSubmitted(api, submitted.txId, query.timeout);
    return reply.header("cairn-tx", outcome.txId).send(outcome);
  });

  batchRoute(app, api, options);

  app.get<{ Params: { id: string } }>("/api/v1/tx/:id", async (request, reply) => {
    const query = parseQuery(request.url, READ_PARAMETERS);
    const id = txId(request.params.id, "The part after /api/v1/tx/");
    const { timeoutMs, ...awaited } = readOptions(query);
    await awaitMinTx(api, awaited);
    const outcome =
      timeoutMs === undefined ? await api.outcome(id) : await api.await(id, waitOptions(timeoutMs));
    if (outcome === undefined) throw unknownTransaction(id);
    return reply.send(outcome);
  });
};

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

function waitOptions(timeoutMs: number | undefined): { timeoutMs?: number } {
  return timeoutMs === undefined ? {} : { timeoutMs };
}

function unknownTransaction(id: TxId): CairnError {
  return new CairnError("NOT_FOUND", `This node has indexed no transaction ${id}.`, {
    hint: `If it was just submitted, wait for it with GET /api/v1/tx/${id}?timeout=PT5S.`,
  });
}
