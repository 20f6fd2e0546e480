import { Readable } from "node:stream";
import { flag, duration, lineNumber, parseQuery } from "../requests/query.ts";
import { linesExpected } from "../answers/error-response.ts";
import { BatchSubmission } from "../requests/batch-submission.ts";
import { acceptLines } from "../requests/request-body.ts";
import type { RegisterRoutes } from "./register-routes.ts";
import { awaitSubmitted, timeLimit } from "./await-tx.ts";

/** POST /api/v1/tx/batch: transactions as NDJSON, stored in the order of the lines. */
export const batchRoute: RegisterRoutes = (app, api, options) => {
  // A part of its own, since it reads bodies in its own way.
  void app.register((part, _, done) => {
    acceptLines(part);
    submitLines(part, api, options);
    done();
  });
};

const submitLines: RegisterRoutes = (app, api, { maxBody }) => {
  app.post("/api/v1/tx/batch", async (request, reply) => {
    const query = parseQuery(request.url, { await: flag, timeout: duration, "first-line": lineNumber });
    const { body } = request;
    if (!(body instanceof Readable)) throw linesExpected();
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
