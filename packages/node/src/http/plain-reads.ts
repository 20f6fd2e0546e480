import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import type { FastifyInstance } from "fastify";
import type { AnsweredRequest } from "../metrics/http-metrics.ts";
import type { NodeApi } from "../api/node-api.ts";
import type { StoredDocument } from "../index/read/documents.ts";
import type { Guard } from "./access.ts";
import { DOCUMENTS } from "./requests/document-path.ts";
import type { Connections } from "./end-connections.ts";
import { atEndOfTurn } from "./end-of-turn.ts";
import { codingFor, COMPRESSED_FROM, VARY_CODING } from "./answers/compression.ts";
import { JSON_TYPE, jsonLine } from "./answers/json-answer.ts";
import { PlainAddresses } from "./plain-addresses.ts";
import { etag } from "./requests/preconditions.ts";
import { requestId } from "./request-id.ts";

/** The route that answers the others. */
const ROUTE = `${DOCUMENTS}*`;

/** The one parameter of a read that is as frequent. */
const LINEARIZABLE = "?linearizable=true";
/** A barrier usually takes a few milliseconds. What takes longer is left to the routes, which wait for as long as the request may. */
const SOON = { linearizable: true, timeoutMs: 100 };

/** What {@link answerPlainReads} shares with the routes. */
export interface PlainReads {
  readonly guard: Guard;
  readonly connections: Connections;
  readonly onAnswered?: ((request: AnsweredRequest) => void) | undefined;
}

/**
 * Answers the most frequent requests of all before the framework sees them, whose hooks and promises take as long as the document does: the
 * GET of a document without conditions, and without parameters but `linearizable=true`. Only successes are answered here. Everything else
 * (other requests, refusals, documents that are not there) goes to the routes as if it had just come, so that there is one place that says why.
 */
export function answerPlainReads(app: FastifyInstance, api: NodeApi, reads: PlainReads): void {
  const { server } = app;
  const { guard, connections } = reads;
  const addresses = new PlainAddresses();
  const others = server.listeners("request") as RequestListener[];
  server.removeAllListeners("request");
  server.on("request", (request, response) => {
    const toRoutes = (): void => others.forEach((other) => other(request, response));
    const { url = "" } = request;
    const isLinearizable = url.endsWith(LINEARIZABLE);
    const path = isLinearizable ? url.slice(0, -LINEARIZABLE.length) : url;
    const key = isPlain(request) && guard.passes(request) ? addresses.keyAt(path) : undefined;
    if (key === undefined || !connections.take(request)) return toRoutes();
    const begin = performance.now();
    const otherwise = (): void => {
      connections.handOver(request);
      toRoutes();
    };
    atEndOfTurn(() => {
      api
        .get(key, isLinearizable ? SOON : undefined)
        .then(
          (document) =>
            document === undefined || isCompressed(document, request)
              ? otherwise()
              : answer(document, request, response, begin, reads),
          otherwise,
        );
    });
  });
}

/** A page's origin may need headers of its own. */
function isPlain({ method, headers }: IncomingMessage): boolean {
  return (
    method === "GET" &&
    headers["if-none-match"] === undefined &&
    headers["if-match"] === undefined &&
    headers.origin === undefined
  );
}

/** That takes longer than what is saved here. */
function isCompressed({ json }: StoredDocument, { headers }: IncomingMessage): boolean {
  return isLarge(json) && codingFor(headers["accept-encoding"]) !== undefined;
}

function isLarge(json: string): boolean {
  // With its line break.
  return json.length + 1 >= COMPRESSED_FROM;
}

function answer(
  { json, revision }: StoredDocument,
  request: IncomingMessage,
  response: ServerResponse,
  begin: number,
  { guard, connections, onAnswered }: PlainReads,
): void {
  const body = jsonLine(json);
  const headers = [
    "content-type",
    JSON_TYPE,
    "content-length",
    String(Buffer.byteLength(body)),
    "etag",
    etag(revision),
    "x-request-id",
    requestId(request),
    ...guard.headers,
  ];
  if (isLarge(json)) headers.push("vary", VARY_CODING);
  if (connections.endsWith(request)) headers.push("connection", "close");
  response.writeHead(200, headers);
  response.end(body);
  const answered = (): void => {
    connections.answered(request);
    const seconds = (performance.now() - begin) / 1000;
    onAnswered?.({ method: "GET", route: ROUTE, status: 200, seconds });
  };
  // Nearly always the kernel has all of it by now; else it waits for the client, or for answers before it.
  if (response.writableLength === 0) answered();
  else response.once("finish", answered);
}
