import { Readable } from "node:stream";
import { flag, duration, lineNumber, parseQuery } from "../requests/query.ts";
import { RequestError, unsupportedMediaType } from "../answers/error-response.ts";
import { BatchSubmission } from "../requests/batch-submission.ts";
import type { RegisterRoutes } from "./register-routes.ts";
import { awaitSubmitted, timeLimit } from "./await-tx.ts";

/** POST /api/v1/tx/batch: transactions as NDJSON, stored in the order of the lines. */
export const batchRoute: RegisterRoutes = (app, api, { maxBody }) => {
  app.post("/api/v1/tx/batch", async (request, reply) => {
    const query = parseQuery(request.url, { await: flag, timeout: duration, "first-line": lineNumber });
    const { body } = request;
    if (!(body instanceof Readable)) throw ndjsonExpected();
    const batch = new BatchSubmission(api, {
      maxLine: maxBody,
      firstLine: query["first-line"] ?? 1,
      timeLimit: () => timeLimit(query.timeout),
    });
    const limit = await batch.submitAll(body);
    const result = batch.result();
    if (query.await === true && result.lastTxId !== null) {
      await awaitSubmitted(api, result.lastTxId, limit);
    }
    return reply.code(query.await === true ? 200 : 202).send(result);
  });
};

function ndjsonExpected(): RequestError {
  const error = unsupportedMediaType();
  return new RequestError(error.code, "A batch is NDJSON: one transaction a line.", {
    status: error.status,
    hint: "Send Content-Type: application/x-ndjson (curl --data-binary @FILE).",
  });
}
