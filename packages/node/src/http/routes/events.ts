import type { EventRecord } from "@cairn/client";
import { nanoseconds } from "../../index/rows/row-keys.ts";
import { eventRefusal } from "../../transactions/event-refusal.ts";
import { sendPage } from "../answers/document-page.ts";
import { badBody } from "../answers/request-error.ts";
import { parseQuery } from "../requests/address.ts";
import { EVENT_PARAMETERS, WRITE_PARAMETERS } from "../requests/parameters.ts";
import { jsonBody } from "../requests/request-body.ts";
import { awaitSubmitted, timeLimit } from "./await-tx.ts";
import type { RegisterRoutes } from "./register-routes.ts";

/** Registers GET and POST /api/v1/events, for events that applications record separately from their documents. */
export const eventRoutes: RegisterRoutes = (app, apiFor) => {
  app.get("/api/v1/events", async (request, reply) => {
    const query = parseQuery(request.url, EVENT_PARAMETERS);
    const { txId, events, before } = await apiFor(request).events({ ...query, admit: request.admit });
    void reply.header("cairn-tx", txId);
    const items = events.map((event) => JSON.stringify(event));
    return sendPage(request, reply, items, before, "before");
  });

  app.post("/api/v1/events", async (request, reply) => {
    const api = apiFor(request);
    const query = parseQuery(request.url, WRITE_PARAMETERS);
    const limit = timeLimit(query.timeoutMs);
    const event = checkedEvent(jsonBody(request));
    const submitted = await api.submit({ ops: [["event", event]] }, { timeoutMs: limit.leftMs });
    if (query.await === false) return reply.code(202).send({ txId: submitted.txId });
    const { txId, txTime } = (await awaitSubmitted(api, submitted, limit)).outcome;
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
    'Send an event in the form {"object": …, "reason": …}, optionally with message, bucket, type, source and time. Nothing was recorded.',
  );
}
