import { checkedQuery, type QueryRows } from "@cairn/engine";
import type { HttpAnswer } from "../answers/answer.ts";
import { listBody } from "../answers/document-page.ts";
import { DISCONNECTED } from "../answers/request-error.ts";
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
      const { query: asked, limits } = checkedQuery(body);
      const gone = new AbortController();
      response.once("close", () => response.writableFinished || gone.abort(DISCONNECTED));
      return rowsAnswer(await api.queryIndex(index, asked, { ...query, limits, admit, signal: gone.signal }));
    },
  }),
];

function rowsAnswer({ txId, columns, rows, more }: QueryRows): HttpAnswer {
  const headers = { "cairn-tx": txId };
  const begin = `{"txId":${txId},"columns":${JSON.stringify(columns)},"rows":[`;
  return { headers, body: listBody(begin, rows, ",", `],"more":${more}}`) };
}
