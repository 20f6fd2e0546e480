import type { Json } from "@cairn/client";
import { LIMITS } from "@cairn/client/protocol";
import type { IndexQuery, QueryRows } from "@cairn/engine";
import { isMap } from "@cairn/text";
import type { HttpAnswer } from "../answers/answer.ts";
import { listBody } from "../answers/document-page.ts";
import { badRequest, DISCONNECTED } from "../answers/request-error.ts";
import { found, jsonOf, type Route, route } from "../openapi/route.ts";
import { INDEX_QUERY_PARAMETERS } from "../requests/parameters.ts";
import { ref } from "../requests/schema-parts.ts";

/** Queries of indexes of one's own. They write nothing, but have a body, which addresses cannot contain. */
export const ownIndexRoutes: readonly Route[] = [
  route({
    method: "POST",
    path: "/api/v1/sql/{index}",
    right: "read",
    concerns: ({ params: { index = "" }, api }) => api.indexBuckets(index),
    id: "queryIndex",
    tag: "documents",
    summary: "Query an index of the node's own.",
    query: INDEX_QUERY_PARAMETERS,
    body: jsonOf(ref("IndexQuery")),
    answers: found("The rows.", ref("QueryResult"), ["Cairn-Tx"]),
    errors: ["NOT_FOUND", "NOT_READY", "OVERLOADED", "OWN_INDEX_FAILED", "QUERY_LIMIT", "TX_TIMEOUT"],
    async handle({ api, params: { index = "" }, query, body, response, admit }) {
      const { limit, ...asked } = indexQuery(body);
      const gone = new AbortController();
      response.once("close", () => response.writableFinished || gone.abort(DISCONNECTED));
      const limits = limit === undefined ? {} : { rows: limit };
      return rowsAnswer(await api.queryIndex(index, asked, { ...query, limits, admit, signal: gone.signal }));
    },
  }),
];

function indexQuery(body: unknown): IndexQuery & { readonly limit: number | undefined } {
  const { sql, args = [], limit, ...others } = isMap(body) ? body : { other: body };
  if (
    typeof sql === "string" &&
    (Array.isArray(args) || isMap(args)) &&
    (limit === undefined || isRowLimit(limit)) &&
    Object.keys(others).length === 0
  )
    return { text: sql, args: args as Json[] | Record<string, Json>, limit };
  throw badRequest(
    "Not a valid query: the body has another form.",
    `Send {"sql": statement, "args": [value, …], "limit": count}, of which "args" may also be an object, and "limit" is at most ${LIMITS.queryRows}. Only "sql" is required.`,
  );
}

function isRowLimit(count: unknown): count is number {
  return Number.isInteger(count) && Number(count) >= 1 && Number(count) <= LIMITS.queryRows;
}

function rowsAnswer({ txId, columns, rows, more }: QueryRows): HttpAnswer {
  const headers = { "cairn-tx": txId };
  const begin = `{"txId":${txId},"columns":${JSON.stringify(columns)},"rows":[`;
  return { headers, body: listBody(begin, rows, ",", `],"more":${more}}`) };
}
