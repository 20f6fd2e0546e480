import { Readable } from "node:stream";
import { CairnError } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import { TIMED_OUT, withTimeout } from "../../concurrency/time-limit.ts";
import { TimeSlice } from "../../concurrency/time-slice.ts";
import { validTransaction } from "../../transactions/validate-transaction.ts";
import { sendPage } from "../answers/document-page.ts";
import { linesExpected } from "../answers/request-error.ts";
import { parseQuery } from "../requests/address.ts";
import { BatchSubmission } from "../requests/batch-submission.ts";
import { IndexBacklog } from "../requests/index-backlog.ts";
import { PacedBody } from "../requests/paced-body.ts";
import {
  BATCH_PARAMETERS,
  OUTCOME_PARAMETERS,
  PAGE_PARAMETERS,
  parseTxId,
  WRITE_PARAMETERS,
} from "../requests/parameters.ts";
import { acceptLines, jsonBody } from "../requests/request-body.ts";
import type { RegisterRoutes } from "./register-routes.ts";
import { awaitSubmitted, timeLimit } from "./await-tx.ts";

/** Registers POST /api/v1/tx, POST /api/v1/tx/batch, GET /api/v1/tx/evictions and GET /api/v1/tx/{id}. */
export const txRoutes: RegisterRoutes = (app, apiFor, parts) => {
  app.post("/api/v1/tx", async (request, reply) => {
    const api = apiFor(request);
    const query = parseQuery(request.url, WRITE_PARAMETERS);
    const transaction = validTransaction(jsonBody(request));
    const limit = timeLimit(query.timeoutMs);
    const submitted = await api.submit(transaction, { timeoutMs: limit.leftMs });
    if (query.await !== true) return reply.code(202).send({ txId: submitted.txId });
    const { outcome } = await awaitSubmitted(api, submitted, limit);
    return reply.header("cairn-tx", outcome.txId).send(outcome);
  });

  // Batches are registered separately, because their bodies are read differently.
  void app.register((part, _, done) => {
    acceptLines(part);
    batchRoute(part, apiFor, parts);
    done();
  });

  app.get("/api/v1/tx/evictions", async (request, reply) => {
    const { evictions, cursor } = await apiFor(request).evictions({
      ...parseQuery(request.url, PAGE_PARAMETERS),
      admit: request.admit,
    });
    const items = evictions.map((eviction) => JSON.stringify(eviction));
    return sendPage(request, reply, items, cursor);
  });

  app.get<{ Params: { id: string } }>("/api/v1/tx/:id", async (request, reply) => {
    const api = apiFor(request);
    const query = parseQuery(request.url, OUTCOME_PARAMETERS);
    const id = parseTxId(request.params.id, "The part after /api/v1/tx/");
    const limit = timeLimit(query.timeoutMs);
    await api.prepareRead(query);
    const outcome =
      query.timeoutMs === undefined
        ? await api.outcome(id)
        : await api.await(id, { timeoutMs: limit.leftMs });
    if (outcome === undefined) throw unknownTransaction(id);
    if (query.by !== true) return reply.send(outcome);
    const by = await withTimeout(api.writerOf(id), limit.leftMs);
    if (by === TIMED_OUT) throw logSilent(limit.limitMs);
    return reply.send(by === undefined ? outcome : { ...outcome, by });
  });
};

/** Registers POST /api/v1/tx/batch: transactions as NDJSON, stored in the order of the lines. */
const batchRoute: RegisterRoutes = (app, apiFor, { maxBody, requestTimeoutMs }) => {
  const slice = new TimeSlice();
  const backlog = new IndexBacklog();
  app.post("/api/v1/tx/batch", async (request, reply) => {
    const api = apiFor(request);
    const query = parseQuery(request.url, BATCH_PARAMETERS);
    if (!(request.body instanceof Readable)) throw linesExpected();
    const batch = new BatchSubmission(api, {
      maxLineBytes: maxBody,
      firstLine: query.firstLine ?? 1,
      startLimit: () => timeLimit(query.timeoutMs),
      outcomeOf:
        query.await === true
          ? async (submitted) => (await awaitSubmitted(api, submitted, timeLimit(query.timeoutMs))).outcome
          : undefined,
      slice,
      backlog,
    });
    await batch.submitAll(new PacedBody(request.raw, requestTimeoutMs));
    return reply.code(query.await === true ? 200 : 202).send(batch.result());
  });
};

function logSilent(ms: number): CairnError {
  return new CairnError("LOG_UNREACHABLE", `The log did not return the transaction within ${ms} ms.`, {
    hint: "Try again, or omit by=true: the log is read only for the name of the writer.",
  });
}

function unknownTransaction(id: TxId): CairnError {
  return new CairnError("NOT_FOUND", `This node has indexed no transaction ${id}.`, {
    hint: `If the transaction was just submitted, wait for it with GET /api/v1/tx/${id}?timeout=PT5S.`,
  });
}
