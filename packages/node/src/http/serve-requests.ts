import type { IncomingMessage, ServerResponse } from "node:http";
import { pipeline, type Readable } from "node:stream";
import { CairnError } from "@cairn/kv";
import type { AnsweredRequest } from "../metrics/http-metrics.ts";
import { type Guard, isPreflight, PREFLIGHT } from "./access.ts";
import { type HttpAnswer, JSON_TYPE, varyBy } from "./answers/answer.ts";
import { codingFor, compressed, isCompressible } from "./answers/compression.ts";
import { errorAnswer } from "./answers/error-answer.ts";
import type { FailedRequests } from "./answers/failed-requests.ts";
import { methodNotAllowed } from "./answers/request-error.ts";
import type { UnsentResponses } from "./answers/unsent-responses.ts";
import type { Connections } from "./connections.ts";
import { JSON_BODY, labelOf, type Route } from "./openapi/route.ts";
import { Call, type Served } from "./permits/call.ts";
import { parseQuery, pathOf, toOriginForm } from "./requests/address.ts";
import { preconditionProblem } from "./requests/preconditions.ts";
import { readJsonBody, requireBody, requireLines } from "./requests/request-body.ts";
import { type FoundRoute, RouteTable } from "./routes/find-route.ts";

/** A request that was answered. `kind` says whether it read or wrote data; undefined if neither. */
export interface ServedRequest extends AnsweredRequest {
  readonly kind: "read" | "write" | undefined;
}

export interface ServingParts {
  readonly served: Served;
  readonly guard: Guard;
  readonly connections: Connections;
  readonly failures: FailedRequests;
  readonly unsent: UnsentResponses;
  readonly onAnswered: ((request: ServedRequest) => void) | undefined;
}

/** What is known about a request before its route handles it. */
interface Begun {
  readonly call: Call;
  /** The headers of every response to the request. */
  readonly headers: Readonly<Record<string, string | number>>;
  readonly found: FoundRoute;
}

const NOTHING_FOUND: FoundRoute = { route: undefined, params: {}, methods: new Map() };

/** Returns the listener that carries out the requests of a server and responds to them. */
export function serveRequests(
  routes: readonly Route[],
  parts: ServingParts,
): (request: IncomingMessage, response: ServerResponse) => void {
  const table = new RouteTable(routes);
  const { connections } = parts;
  return (request, response) => {
    toOriginForm(request);
    connections.accept(request, response, () => begin(request, response, table, parts));
  };
}

function begin(
  request: IncomingMessage,
  response: ServerResponse,
  table: RouteTable,
  parts: ServingParts,
): void {
  const { guard, served } = parts;
  const call = new Call(request, response, served);
  const cors = guard.corsOf(request);
  const headers = { "x-request-id": call.id, ...cors.headers };
  let found = NOTHING_FOUND;
  try {
    if (cors.isAllowedPage && isPreflight(request)) {
      return void send({ call, headers, found }, { status: 204, headers: PREFLIGHT }, parts);
    }
    found = table.find(call.method, call.url);
    const { route, params, methods } = found;
    call.permit = guard.permitOf(request, route, cors.isAllowedPage);
    call.params = params;
    if (route === undefined) throw unserved(call, methods);
    const evaluates = route.requestHeaders?.includes("If-Match") === true;
    const problem = preconditionProblem(request.headers, call.method, evaluates);
    if (problem !== undefined) throw problem;
    const begun = { call, headers, found };
    const task = (): void =>
      void carryOut(route, begun, parts).catch((error: unknown) => {
        // A response that cannot be written is not expected.
        parts.failures.failed(error, call);
        request.socket.destroy();
      });
    if (route.method === "GET") atEndOfTurn(task);
    else task();
  } catch (error) {
    void send({ call, headers, found }, errorAnswer(error, call, found.methods, parts.failures), parts);
  }
}

function unserved({ method, url }: Call, methods: FoundRoute["methods"]): CairnError {
  if (methods.size > 0) return methodNotAllowed(method, pathOf(url), [...methods.keys()]);
  return new CairnError("NOT_FOUND", `Unknown address: ${method} ${pathOf(url)}.`, {
    hint: "Use one of the addresses that GET /openapi.json lists.",
  });
}

async function carryOut(route: Route, begun: Begun, parts: ServingParts): Promise<void> {
  const { call } = begun;
  const { request, served } = call;
  let answer: HttpAnswer;
  try {
    if (route.readsLines === true) requireLines(request);
    else if (route.method !== "GET") {
      call.body = await readJsonBody(request, served.maxBody, route.onBody);
      if (parts.connections.isRefused(request)) return;
    }
    call.query = parseQuery(call.url, route.query ?? {});
    if (route.body?.[JSON_BODY] !== undefined) requireBody(request, call.body);
    call.require(route.concerns);
    answer = await route.handle(call);
  } catch (error) {
    answer = errorAnswer(error, call, begun.found.methods, parts.failures);
  }
  await send(begun, answer, parts);
}

let waiting: (() => void)[] = [];

/**
 * Calls `task` once the event loop has read all of its sockets. All tasks run in one callback, so that the responses
 * are sent in immediate succession and a client that waits for several of them wakes up only once. A read costs 22 us
 * of processor time this way. It would cost 31 us if each request were answered immediately, and 30 us with a
 * `setImmediate` for each request.
 */
export function atEndOfTurn(task: () => void): void {
  if (waiting.length === 0) setImmediate(endTurn);
  waiting.push(task);
}

function endTurn(): void {
  const tasks = waiting;
  waiting = [];
  for (const task of tasks) task();
}

const NO_CONTENT = 204;
const NOT_MODIFIED = 304;

async function send(begun: Begun, answer: HttpAnswer, parts: ServingParts): Promise<void> {
  const { connections } = parts;
  const { request, response, method } = begun.call;
  // The connection may have ended in the meantime, or with another response.
  if (request.socket.destroyed || connections.isRefused(request)) return;
  const { status = 200, type = JSON_TYPE, body } = answer;
  const headers: Record<string, string | number> = { ...begun.headers, ...answer.headers };
  if (connections.endsAfter(request)) headers["connection"] = "close";
  if (headers["connection"] === "close" || !response.shouldKeepAlive) connections.endAfter(request);
  if (status >= 400) varyBy(headers, "accept");
  const isWhole = method !== "HEAD" && status !== NOT_MODIFIED;
  let payload: string | Buffer | Readable | undefined = body;
  if (body !== undefined && isCompressible(body, type)) {
    varyBy(headers, "accept-encoding");
    const coding = codingFor(request.headers["accept-encoding"]);
    // A strong tag would promise identical bytes (RFC 9110, 8.8.1).
    if (coding !== undefined && "etag" in headers) headers["etag"] = `W/${headers["etag"]}`;
    const coded = coding !== undefined && isWhole ? await compressed(body, coding) : undefined;
    if (coding !== undefined && (coded !== undefined || method === "HEAD")) {
      headers["content-encoding"] = coding;
      // The length of a compressed body would be known only after compressing it.
      payload = coded;
    }
  }
  if (status !== NOT_MODIFIED) {
    if (body !== undefined || answer.type !== undefined) headers["content-type"] = type;
    const isLong = typeof payload === "string" || Buffer.isBuffer(payload);
    if (isLong) headers["content-length"] = Buffer.byteLength(payload as string | Buffer);
    else if (payload === undefined && isWhole && status !== NO_CONTENT) headers["content-length"] = 0;
  }
  response.writeHead(status, headers);
  sendBody(begun, status, isWhole ? payload : undefined, parts);
}

function sendBody(
  { call, found: { route } }: Begun,
  status: number,
  payload: string | Buffer | Readable | undefined,
  { connections, unsent, onAnswered }: ServingParts,
): void {
  const { request, response, method, begin: begunAt } = call;
  const answered = (): void => {
    connections.answered(response);
    const isData = route?.isData !== false && (route?.right === "read" || route?.right === "write");
    onAnswered?.({
      method,
      // Requests that reach no route share one name, to keep the number of metric labels small.
      route: route === undefined ? "none" : labelOf(route),
      status,
      seconds: (performance.now() - begunAt) / 1_000,
      kind: isData ? (route.right as "read" | "write") : undefined,
    });
  };
  const isStream = payload !== undefined && typeof payload !== "string" && !Buffer.isBuffer(payload);
  if (!isStream) response.end(payload);
  // The kernel has usually accepted the whole response by now. Otherwise the response waits for the client.
  if (!isStream && response.writableLength === 0) return answered();
  response.once("finish", answered);
  // Watches have limits of their own.
  if (!String(response.getHeader("content-type")).startsWith("text/event-stream")) {
    unsent.ready(request, isStream ? undefined : payload?.length);
    unsent.disconnectWhenGone(response);
  }
  if (isStream) pipeline(payload, response, () => undefined);
}
