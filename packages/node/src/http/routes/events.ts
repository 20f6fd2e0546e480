import type { EventRecord } from "@cairn/client";
import { nanoseconds } from "../../index/rows/row-keys.ts";
import { eventRefusal } from "../../transactions/event-refusal.ts";
import { sendPage } from "../answers/document-page.ts";
import { badBody } from "../answers/error-response.ts";
import { duration, flag, limit, parseQuery, READ_PARAMETERS, readOptions, text } from "../requests/query.ts";
import { jsonBody } from "../requests/request-body.ts";
import { awaitSubmitted, timeLimit } from "./await-tx.ts";
import type { RegisterRoutes } from "./register-routes.ts";

const LIST = { ...READ_PARAMETERS, limit, bucket: text, object: text, before: text };

/** GET and POST /api/v1/events: what an application recorded, which is no part of its documents. */
export const eventRoutes: RegisterRoutes = (app, api) => {
  app.get("/api/v1/events", async (request, reply) => {
    const query = parseQuery(request.url, LIST);
    const { txId, events, before } = await api.events({
      ...readOptions(query),
      ...(query.limit === undefined ? {} : { limit: query.limit }),
      ...(query.bucket === undefined ? {} : { bucket: query.bucket }),
      ...(query.object === undefined ? {} : { object: query.object }),
      ...(query.before === undefined ? {} : { before: query.before }),
    });
    void reply.header("cairn-tx", txId);
    return sendPage(
      request,
      reply,
      events.map((event) => JSON.stringify(event)),
      before,
      "before",
    );
  });

  app.post("/api/v1/events", async (request, reply) => {
    const query = parseQuery(request.url, { await: flag, timeout: duration });
    const wait = timeLimit(query.timeout);
    const event = checkedEvent(jsonBody(request));
    const submitted = await api.submit({ ops: [["event", event]] }, { timeoutMs: wait.leftMs });
    if (query.await === false) return reply.code(202).send(submitted);
    const { txId, txTime } = (await awaitSubmitted(api, submitted.txId, wait)).outcome;
    const { time = String(nanoseconds(Date.parse(txTime))) } = event;
    return reply
      .code(201)
      .header("cairn-tx", txId)
      .send({ id: `${time}-${txId}-0`, txId, time });
  });
};

function checkedEvent(body: unknown): EventRecord {
  const refusal = eventRefusal(body);
  if (refusal === undefined) return body as EventRecord;
  throw badBody(
    `Not a valid event: ${refusal}.`,
    'Nothing was recorded. An event is {"object": …, "reason": …}, and may have message, bucket, type, source and time.',
  );
}
