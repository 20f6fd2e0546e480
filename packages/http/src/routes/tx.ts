import { parseTxId } from "@cairn/text";
import { CairnError, TIMED_OUT, withTimeout } from "@cairn/kv";
import { awaitSubmitted, validTransaction } from "@cairn/engine";
import { jsonAnswer } from "../answers/answer.ts";
import { page } from "../answers/document-page.ts";
import { found, jsonOf, READ_ERRORS, type Route, route, SUBMIT_ERRORS, written } from "../openapi/route.ts";
import { BatchSubmission } from "../requests/batch-submission.ts";
import { PacedBody } from "../requests/paced-body.ts";
import {
  BATCH_PARAMETERS,
  OUTCOME_PARAMETERS,
  PAGE_PARAMETERS,
  WRITE_PARAMETERS,
} from "../requests/parameters.ts";
import { array, ref, TEXT } from "../requests/schema-parts.ts";
import { outcomeRequest, submit, timeLimit } from "./await-tx.ts";

export const txRoutes: readonly Route[] = [
  route({
    method: "POST",
    path: "/api/v1/tx",
    right: "write",
    concerns: "none",
    id: "submitTransaction",
    tag: "transactions",
    summary: "Submit operations that take effect together or not at all.",
    query: WRITE_PARAMETERS,
    body: jsonOf(ref("Transaction")),
    answers: written(ref("Outcome"), ["Cairn-Tx"]),
    errors: [...SUBMIT_ERRORS, "CONFLICT"],
    async handle(call) {
      const { txId, result } = await submit(call, validTransaction(call.body), call.query.await === true);
      return result === undefined
        ? jsonAnswer({ txId }, {}, 202)
        : jsonAnswer(result.outcome, { "cairn-tx": txId });
    },
  }),
  route({
    method: "POST",
    path: "/api/v1/tx/batch",
    right: "write",
    concerns: "none",
    id: "submitBatch",
    tag: "transactions",
    summary: "Submit transactions as NDJSON (also as `application/x-ndjson`), one per line.",
    query: BATCH_PARAMETERS,
    // Generated clients would encode a body of a type with "json" in its name as one JSON value.
    body: { "text/plain": TEXT, "application/octet-stream": { ...TEXT, format: "binary" } },
    readsLines: true,
    answers: [
      { status: 200, description: "All transactions are indexed.", schema: ref("BatchResult") },
      { status: 202, description: "All transactions are in the log.", schema: ref("BatchResult") },
    ],
    errors: [...SUBMIT_ERRORS, "CONFLICT"],
    async handle(call) {
      const { api, query, request, served } = call;
      const isAwaited = query.await === true;
      const batch = new BatchSubmission(
        {
          submit: async (...given) => await call.submit(...given),
          indexed: async (...wanted) => await api.indexed(...wanted),
        },
        {
          ...served,
          firstLine: query.firstLine ?? 1,
          timeoutMs: query.timeoutMs,
          outcomeOf: isAwaited
            ? async (submitted) =>
                (await awaitSubmitted(api, submitted, timeLimit(query.timeoutMs), outcomeRequest)).outcome
            : undefined,
        },
      );
      const result = await batch.submitAll(new PacedBody(request, served.requestTimeoutMs));
      return jsonAnswer(result, {}, isAwaited ? 200 : 202);
    },
  }),
  route({
    method: "GET",
    path: "/api/v1/tx/evictions",
    right: "operate",
    concerns: "all",
    id: "listEvictions",
    tag: "transactions",
    summary: "List evictions, newest first.",
    query: PAGE_PARAMETERS,
    answers: found("The evictions.", array(ref("Eviction")), ["Link"]),
    errors: READ_ERRORS,
    async handle({ api, query, admit, url }) {
      const { evictions, cursor } = await api.evictions({ ...query, admit });
      const items = evictions.map((eviction) => JSON.stringify(eviction));
      return page(url, items, cursor);
    },
  }),
  route({
    method: "GET",
    path: "/api/v1/tx/{id}",
    right: "read",
    concerns: "none",
    id: "getTransaction",
    tag: "transactions",
    summary: "Return the outcome of a transaction; with `timeout`, wait for it.",
    inPath: { id: ref("TxId") },
    query: OUTCOME_PARAMETERS,
    answers: found("The transaction is indexed.", ref("Outcome")),
    errors: [...READ_ERRORS, "NOT_FOUND", "OUTCOME_REMOVED"],
    async handle(call) {
      const { api, query, params } = call;
      const id = parseTxId(params["id"] ?? "", "The part after /api/v1/tx/");
      if (query.by === true) call.permit.requireAllBuckets();
      const limit = timeLimit(query.timeoutMs);
      await api.prepareRead(query);
      const outcome = await call.outcome(id, query.timeoutMs === undefined ? undefined : limit.leftMs);
      if (outcome === undefined) {
        throw new CairnError(
          "NOT_FOUND",
          `This node has indexed no transaction ${id}.`,
          `If the transaction was just submitted, wait for it with GET /api/v1/tx/${id}?timeout=PT5S.`,
        );
      }
      if (query.by !== true) return jsonAnswer(outcome);
      const by = await withTimeout(api.writerOf(id), limit.leftMs);
      if (by === TIMED_OUT) {
        throw new CairnError(
          "LOG_UNREACHABLE",
          `The log did not return the transaction within ${limit.limitMs} ms.`,
          "Try again, or omit by=true: the log is read only for the name of the writer.",
        );
      }
      return jsonAnswer(by === undefined ? outcome : { ...outcome, by });
    },
  }),
];
