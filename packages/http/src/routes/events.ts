import type { EventRecord } from "@cairn/client";
import { eventProblem } from "@cairn/engine";
import { nanoseconds } from "@cairn/text";
import { jsonAnswer } from "../answers/answer.ts";
import { page } from "../answers/document-page.ts";
import { badBody } from "../answers/request-error.ts";
import { found, jsonOf, READ_ERRORS, type Route, route, SUBMIT_ERRORS, written } from "../openapi/route.ts";
import { EVENT_PARAMETERS, WRITE_PARAMETERS } from "../requests/parameters.ts";
import { array, ref } from "../requests/schema-parts.ts";
import { submit } from "./await-tx.ts";

/** The events that applications record separately from their documents. */
export const eventRoutes: readonly Route[] = [
  route({
    method: "GET",
    path: "/api/v1/events",
    right: "read",
    concerns: ({ query }) => query.bucket,
    id: "listEvents",
    tag: "events",
    summary: "List recorded events, newest first.",
    query: EVENT_PARAMETERS,
    answers: found("The events.", array(ref("RecordedEvent")), ["Cairn-Tx", "Link"]),
    errors: READ_ERRORS,
    async handle({ api, query, admit, url }) {
      const { txId, events, cursor } = await api.events({ ...query, admit });
      const items = events.map((event) => JSON.stringify(event));
      return page(url, items, cursor, { "cairn-tx": txId });
    },
  }),
  route({
    method: "POST",
    path: "/api/v1/events",
    right: "write",
    concerns: "none",
    id: "recordEvent",
    tag: "events",
    summary: "Record an event.",
    query: WRITE_PARAMETERS,
    body: jsonOf(ref("EventRecord")),
    answers: written(ref("EventWritten"), ["Cairn-Tx"], 201),
    errors: SUBMIT_ERRORS,
    async handle(call) {
      const refusal = eventProblem(call.body);
      if (refusal !== undefined) {
        throw badBody(
          `Not a valid event: ${refusal}.`,
          'Send an event in the form {"object": …, "reason": …}, optionally with message, bucket, type, source and time: digits for a number of at most 9223372036854775807, without leading zeros. Nothing was recorded.',
        );
      }
      const event = call.body as EventRecord;
      const { txId, result } = await submit(call, { ops: [["event", event]] });
      if (result === undefined) return jsonAnswer({ txId }, {}, 202);
      const { txTime } = result.outcome;
      const { time = String(nanoseconds(Date.parse(txTime))) } = event;
      return jsonAnswer({ id: `${time}-${txId}-0`, txId, time }, { "cairn-tx": txId }, 201);
    },
  }),
];
