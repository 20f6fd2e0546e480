import { CairnError } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import { validTransaction } from "../../transactions/validate-transaction.ts";
import { duration, flag, parseQuery, READ_PARAMETERS, readOptions, txId } from "../requests/query.ts";
import { jsonBody } from "../requests/request-body.ts";
import type { RegisterRoutes } from "./register-routes.ts";
import { awaitSubmitted, timeLimit } from "./await-tx.ts";
import { batchRoute } from "./tx-batch.ts";

/** POST /api/v1/tx, POST /api/v1/tx/batch and GET /api/v1/tx/{id}. */
export const txRoutes: RegisterRoutes = (app, api, options) => {
  app.post("/api/v1/tx", async (request, reply) => {
    const query = parseQuery(request.url, { await: flag, timeout: duration });
    const transaction = validTransaction(jsonBody(request));
    const limit = timeLimit(query.timeout);
    const submitted = await api.submit(transaction, { timeoutMs: limit.leftMs });
    if (query.await !== true) return reply.code(202).send(submitted);
    const { outcome } = await awaitSubmitted(api, submitted.txId, limit);
    return reply.header("cairn-tx", outcome.txId).send(outcome);
  });

  batchRoute(app, api, options);

  app.get<{ Params: { id: string } }>("/api/v1/tx/:id", async (request, reply) => {
    const query = parseQuery(request.url, READ_PARAMETERS);
    const id = txId(request.params.id, "The part after /api/v1/tx/");
    const read = readOptions(query);
    const { timeoutMs } = read;
    const limit = timeLimit(timeoutMs);
    await api.prepareRead(read);
    const outcome =
      timeoutMs === undefined ? await api.outcome(id) : await api.await(id, { timeoutMs: limit.leftMs });
    if (outcome === undefined) throw unknownTransaction(id);
    return reply.send(outcome);
  });
};

function unknownTransaction(id: TxId): CairnError {
  return new CairnError("NOT_FOUND", `This node has indexed no transaction ${id}.`, {
    hint: `If it was just submitted, wait for it with GET /api/v1/tx/${id}?timeout=PT5S.`,
  });
}
