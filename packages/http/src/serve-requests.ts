import type { RequestListener, ServerResponse } from "node:http";
import { pipeline, type Readable } from "node:stream";
import { CairnError } from "@cairn/kv";
import type { NodeMetrics } from "@cairn/engine";
import { type Guard, PREFLIGHT } from "./access.ts";
import { type HttpAnswer, JSON_TYPE } from "./answers/answer.ts";
import { errorAnswer, type FailedRequests } from "./answers/failed-requests.ts";
import { RequestError } from "./answers/request-error.ts";
import { disconnectWhenGone } from "./answers/unsent-responses.ts";
import type { Connections } from "./connections.ts";
import { JSON_BODY, PRECONDITIONS, type Route } from "./openapi/route.ts";
import { Call, type Served } from "./permits/call.ts";
import { parseQuery, pathOf, toOriginForm } from "./requests/address.ts";
import { preconditionProblem } from "./requests/preconditions.ts";
import { readJsonBody, requireBody, requireLines } from "./requests/request-body.ts";
import { NOWHERE, type RoutePlace, routeTable } from "./routes/find-route.ts";
import { promisify } from "node:util";
import { createGzip, gzip } from "node:zlib";

export interface ServingParts {
  readonly served: Served;
  readonly guard: Guard;
  readonly connections: Connections;
  readonly failures: FailedRequests;
  readonly completeHint: ((hint: string) => string) | undefined;
  readonly onAnswered: NodeMetrics["onRequest"] | undefined;
}

const NO_CONTENT = 204;
const NOT_MODIFIED = 304;

/** A request with what is at its address. */
class Exchange extends Call {
  place: RoutePlace = NOWHERE;

  get route(): Route | undefined {
    return this.place.methods.get(this.method);
  }
}

/** Returns the listener that carries out the requests of a server and responds to them. */
export function serveRequests(routes: readonly Route[], parts: ServingParts): RequestListener {
  const findRoute = routeTable(routes);
  const { connections } = parts;
  const begin = (response: ServerResponse): void => beginRequest(response, findRoute, parts);
  return (request, response) => {
    toOriginForm(request);
    connections.accept(response, begin);
  };
}

function beginRequest(
  response: ServerResponse,
  findRoute: ReturnType<typeof routeTable>,
  parts: ServingParts,
): void {
  const { guard, served } = parts;
  const { req: request } = response;
  const call = new Exchange(request, response, served);
  const isAllowedPage = guard.allowPage(request, call.headers);
  try {
    const isAsked = request.headers["access-control-request-method"] !== undefined;
    if (isAllowedPage && isAsked && request.method === "OPTIONS")
      return send(call, { status: NO_CONTENT, headers: PREFLIGHT }, parts);
    call.place = findRoute(call.method, call.url);
    const { route, place } = call;
    call.params = place.params;
    call.permit = guard.permitOf(request, route, isAllowedPage);
    if (route === undefined) throw unserved(call.method, pathOf(call.url), [...place.methods.keys()]);
    const problem = preconditionProblem(request.headers, call.method, route.requestHeaders === PRECONDITIONS);
    if (problem !== undefined) throw problem;
    if (route.method !== "GET") {
      route.checkUrl?.(call.url);
      carryOut(call, route, parts);
    } else atEndOfTurn(() => carryOut(call, route, parts));
  } catch (error) {
    fail(call, error, parts);
  }
}

function unserved(method: string, path: string, allowed: readonly string[]): CairnError {
  if (allowed.length === 0)
    return new CairnError(
      "NOT_FOUND",
      `Unknown address: ${method} ${path}.`,
      "Use one of the addresses that GET /openapi.json lists.",
    );
  const allow = allowed.join(", ");
  const message = `${method} is not allowed for ${path}; allowed methods: ${allow}.`;
  const hint = "Use one of the allowed methods. GET /openapi.json lists all addresses with their methods.";
  return new RequestError("METHOD_NOT_ALLOWED", message, { hint, headers: { allow } });
}

/** Most requests are reads that wait for nothing, so few promises are created. */
function carryOut(call: Exchange, route: Route, parts: ServingParts): void {
  const onError = (error: unknown): void => fail(call, error, parts);
  try {
    const answer = route.method === "GET" ? handle(call, route) : handleWithBody(call, route, parts);
    if (answer instanceof Promise) answer.then((one) => send(call, one, parts), onError);
    else send(call, answer, parts);
  } catch (error) {
    onError(error);
  }
}

async function handleWithBody(call: Call, route: Route, parts: ServingParts): Promise<HttpAnswer> {
  const { request, served } = call;
  if (route.readsLines === true) requireLines(request);
  else call.body = await readJsonBody(request, served.maxBody, route.onBody);
  // Such a request has its response, and its client may send it again.
  if (parts.connections.isRefused(request)) return {};
  return await handle(call, route);
}

function handle(call: Call, route: Route): HttpAnswer | Promise<HttpAnswer> {
  try {
    call.query = parseQuery(call.url, route.query ?? {});
  } catch (error) {
    // There may be nothing at the address, so that no parameter would be right.
    route.checkUrl?.(call.url);
    throw error;
  }
  if (route.body?.[JSON_BODY] !== undefined) requireBody(call.request, call.body);
  call.require(route.concerns);
  return route.handle(call);
}

function fail(call: Exchange, error: unknown, parts: ServingParts): void {
  const { completeHint, failures } = parts;
  const answer = errorAnswer(error, call, call.place.methods, failures, (hint) =>
    // A completed command shows folders and settings of the node, as its status does.
    call.permit.has("observe") ? (completeHint?.(hint) ?? hint) : hint,
  );
  send(call, answer, parts);
}

let waiting: (() => void)[] = [];

/**
 * Calls `task` once the event loop has read all of its sockets, and all tasks in one callback, so that a client that
 * waits for several responses wakes up once. A read costs 22 us of processor time this way, 31 us if answered
 * immediately, and 30 us with a `setImmediate` for each request.
 */
export function atEndOfTurn(task: () => void): void {
  if (waiting.length === 0)
    setImmediate(() => {
      const tasks = waiting;
      waiting = [];
      for (const one of tasks) one();
    });
  waiting.push(task);
}

function send(call: Exchange, answer: HttpAnswer, parts: ServingParts): void {
  const { connections } = parts;
  const { request, response, method, headers } = call;
  // The connection may have ended in the meantime, or with another response.
  if (request.socket.destroyed || connections.isRefused(request)) return;
  const { status = 200, type = JSON_TYPE, body, headers: own = {} } = answer;
  for (const name in own) headers[name] = own[name] ?? "";
  if (connections.endsAfter(request)) headers["connection"] = "close";
  if (headers["connection"] === "close" || !response.shouldKeepAlive) connections.endAfter(request);
  if (status !== NOT_MODIFIED && (body !== undefined || answer.type !== undefined))
    headers["content-type"] = type;
  if (body === undefined || !isCompressible(body, type)) return sendBody(call, status, body, parts);
  const { vary } = headers;
  headers["vary"] = vary === undefined ? "accept-encoding" : `${vary}, accept-encoding`;
  if (!acceptsGzip(request.headers["accept-encoding"])) return sendBody(call, status, body, parts);
  // A strong tag would promise identical bytes (RFC 9110, 8.8.1).
  if ("etag" in headers) headers["etag"] = `W/${headers["etag"]}`;
  if (status === NOT_MODIFIED) return sendBody(call, status, undefined, parts);
  // The length of the compressed body would be known only after compressing it.
  const coded = method === "HEAD" ? "" : compressed(body);
  if (coded !== undefined) headers["content-encoding"] = "gzip";
  if (coded === "") sendBody(call, status, undefined, parts);
  else if (!(coded instanceof Promise)) sendBody(call, status, coded ?? body, parts);
  else {
    coded.then(
      (bytes) => sendBody(call, status, bytes, parts),
      (error: unknown) => notSent(call, error, parts),
    );
  }
}

/** A response that cannot be written is not expected. */
function notSent(call: Call, error: unknown, { failures }: ServingParts): void {
  failures.failed(error, call);
  call.request.socket.destroy();
}

function sendBody(
  call: Exchange,
  status: number,
  body: string | Buffer | Readable | undefined,
  parts: ServingParts,
): void {
  const { request, response, headers, method } = call;
  const { unsent } = call.served;
  const isStream = body !== undefined && typeof body !== "string" && !Buffer.isBuffer(body);
  const hasBody = method !== "HEAD" && status !== NOT_MODIFIED;
  if (status !== NOT_MODIFIED && !isStream) {
    if (body !== undefined) headers["content-length"] = Buffer.byteLength(body);
    else if (method !== "HEAD" && status !== NO_CONTENT) headers["content-length"] = 0;
  }
  try {
    response.writeHead(status, headers);
  } catch (error) {
    return notSent(call, error, parts);
  }
  if (!isStream || !hasBody) {
    response.end(hasBody ? body : undefined);
    // The kernel has usually accepted the whole response by now. Otherwise the response waits for the client.
    if (response.writableLength === 0) return answered(call, status, parts);
  }
  response.once("finish", () => answered(call, status, parts));
  // Watches have limits of their own.
  if (!String(headers["content-type"]).startsWith("text/event-stream")) {
    unsent.ready(request, isStream ? undefined : body?.length);
    disconnectWhenGone(response, unsent.goneAfterMs);
  }
  if (isStream && hasBody) pipeline(body, response, () => undefined);
}

function answered({ method, begin, response, route }: Exchange, status: number, parts: ServingParts): void {
  parts.connections.answered(response);
  parts.onAnswered?.({
    method,
    // Requests that reach no route share one name, to keep the number of metric labels small.
    route: route?.label ?? "none",
    status,
    seconds: (performance.now() - begin) / 1_000,
    kind: route?.kind,
  });
}

const MIN_COMPRESSED_CHARACTERS = 4_096;
/** Additional responses are sent uncompressed. Compression shares its threads with LevelDB's reads. */
const MAX_CONCURRENT = 2;

const wholeGzip = promisify<string, Buffer>(gzip);

/** Matches gzip among the codings of an Accept-Encoding header (RFC 9110, 12.5.3), unless its weight is 0. */
const ACCEPTS_GZIP = /(?:^|,)\s*(?:x-)?gzip\s*(?:;\s*q\s*=\s*(?:1|0?\.0{0,2}[1-9])[\d.]*\s*)?(?:,|$)/i;

/** Returns whether a client that sends this Accept-Encoding header names gzip, the only coding of this server. */
export function acceptsGzip(acceptEncoding = ""): boolean {
  return ACCEPTS_GZIP.test(acceptEncoding);
}

/** Returns whether a body is compressed if its client wishes. Event streams are not: each event must be sent at once. */
function isCompressible(body: string | Readable, type: string): boolean {
  return (
    (typeof body !== "string" || body.length >= MIN_COMPRESSED_CHARACTERS) &&
    /^(?:application\/json|text\/(?:plain|html|css|javascript));/.test(type)
  );
}

let underWay = 0;

/** Compresses a body, as a whole or as it is sent. Returns undefined if too many others are being compressed. */
function compressed(body: string | Readable): Promise<Buffer> | Readable | undefined {
  if (underWay >= MAX_CONCURRENT) return undefined;
  underWay += 1;
  const ended = (): void => void (underWay -= 1);
  return typeof body === "string" ? wholeGzip(body).finally(ended) : pipeline(body, createGzip(), ended);
}
