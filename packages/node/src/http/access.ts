import type { IncomingHttpHeaders, IncomingMessage } from "node:http";
import { CairnError } from "@cairn/kv";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { HttpOptions } from "../api/system.ts";
import { BAD_REQUEST, badRequest, RequestError } from "./answers/request-error.ts";
import { NOTHING, type Permit } from "./permits/permit.ts";
import { requireRights } from "./permits/route-rights.ts";
import type { Tickets } from "./permits/tickets.ts";
import type { Tokens } from "./permits/tokens.ts";
import { isSafeMethod } from "./requests/request-head.ts";

export type AccessOptions = Pick<HttpOptions, "host" | "corsOrigins" | "allowedHosts">;

declare module "fastify" {
  interface FastifyRequest {
    /** What the sender of the request may do. */
    permit: Permit;
  }
  interface FastifyContextConfig {
    /** True if a ticket in the query may replace the token. */
    acceptsTicket?: boolean;
  }
}

/** The decisions of {@link guard} for requests that are answered before they reach the framework. */
export interface Guard {
  /** Returns what the sender of a request without an Origin may do; undefined if the request is rejected. */
  permitOf(request: IncomingMessage): Permit | undefined;
  /** The headers of every response to such a request. Names and values alternate. */
  readonly headers: readonly string[];
}

/** This header keeps caches from serving one page the response that they stored for another page. */
const VARY = ["vary", "origin"] as const;

/**
 * Rejects requests with ambiguous headers, writes that a page of another site causes a browser to send, requests whose
 * Host is not a name of this machine, requests without a token (except those to /health), and requests whose token does
 * not have the right that the route requires. Responds to the preflight requests of allowed pages.
 */
export function guard(
  app: FastifyInstance,
  options: AccessOptions,
  { tokens, tickets }: { readonly tokens: Tokens; readonly tickets: Tickets },
): Guard {
  const { corsOrigins } = options;
  const isOwnHost = ownHosts(options, tokens);
  requireRights(app);
  app.decorateRequest("permit", null as unknown as Permit);
  app.addHook("onRequest", (request, reply, done) => {
    const isAllowedPage = corsOrigins !== undefined && allowPage(corsOrigins, request, reply);
    if (isAllowedPage && isPreflight(request)) {
      void reply.code(204).headers(PREFLIGHT).send();
      return;
    }
    const refused = refusal(request.raw, tokens, isOwnHost, isAllowedPage);
    if (refused !== undefined) return done(refused);
    const { url, config } = request.routeOptions;
    const right = url === undefined ? undefined : config.right;
    const ticket = url !== undefined && config.acceptsTicket === true ? ticketIn(request.url) : undefined;
    const given = tokenIn(request.headers);
    const permit =
      right === "none"
        ? NOTHING
        : given === undefined && ticket !== undefined
          ? tickets.redeem(ticket)
          : tokens.permitOf(given);
    if (permit === undefined)
      return done(given === undefined && ticket !== undefined ? wrongTicket() : noToken(given));
    request.permit = permit;
    try {
      if (right !== undefined && right !== "none") permit.require(right, `${request.method} ${url}`);
    } catch (error) {
      return done(error as Error);
    }
    done();
  });
  return {
    permitOf: (request) =>
      refusal(request, tokens, isOwnHost, false) === undefined
        ? tokens.permitOf(tokenIn(request.headers))
        : undefined,
    headers: corsOrigins === undefined || corsOrigins.includes("*") ? [] : VARY,
  };
}

function tokenIn({ authorization }: IncomingHttpHeaders): string | undefined {
  return authorization === undefined ? undefined : /^bearer +(\S+)\s*$/i.exec(authorization)?.[1];
}

function ticketIn(url: string): string | undefined {
  return /[?&]ticket=([^&]+)/.exec(url)?.[1];
}

function noToken(given: string | undefined): CairnError {
  return new CairnError(
    "UNAUTHORIZED",
    given === undefined ? "This node requires a token." : "The token is not valid for this node.",
    {
      hint: "Pass one of the node's tokens to commands with --token or CAIRN_AUTH_TOKEN, and in requests with the header Authorization: Bearer TOKEN.",
    },
  );
}

function wrongTicket(): CairnError {
  return new CairnError(
    "UNAUTHORIZED",
    "The ticket is not valid: it was used, it has expired, or another node issued it.",
    {
      hint: "Request a new ticket from this node with POST /api/v1/watch/tickets, and use it within 60 s. A ticket can be used once.",
    },
  );
}

function refusal(
  request: IncomingMessage,
  tokens: Tokens,
  isOwnHost: (host: string | undefined) => boolean,
  isAllowedPage: boolean,
): CairnError | undefined {
  const { headers } = request;
  if (headers.host === undefined && request.httpVersion === "1.1") {
    return badRequest(
      "The request has no Host header.",
      "Send the header Host with the name and port of the node, as HTTP/1.1 requires.",
    );
  }
  const repeated = repeatedHeader(request.rawHeaders);
  if (repeated !== undefined) {
    return badRequest(`The request has the header ${repeated} twice.`, "Send the header only once.");
  }
  const coding = headers["transfer-encoding"];
  if (coding !== undefined && !/^chunked$/i.test(coding.trim())) return unknownTransferCoding(coding);
  if (!isOwnHost(headers.host)) return wrongHost(headers.host);
  // This check is necessary because form bodies are parsed as JSON, and browsers send forms without a preflight
  // request.
  if (!isSafeMethod(request.method) && !isAllowedPage && isOfAnotherSite(headers, tokens.areRequired)) {
    return new CairnError("FORBIDDEN", "Pages of other sites are not allowed to write.", {
      hint: "Send the request from a program or a page of the same origin, or name the page's origin in cors-origins.",
    });
  }
  return undefined;
}

/** The encoded bytes must not be mistaken for the body itself (RFC 9112, 6.1). */
function unknownTransferCoding(coding: string): RequestError {
  return new RequestError(BAD_REQUEST, `The transfer coding ${JSON.stringify(coding)} is not supported.`, {
    status: 501,
    hint: "Send the body without a transfer coding, or in chunks (Transfer-Encoding: chunked).",
  });
}

/**
 * Returns whether a page of another site caused a browser to send this request. Browsers send Sec-Fetch-Site only to
 * HTTPS addresses and to this machine, and old browsers never send it. If the header is missing, the page's origin
 * decides. If a token is required, the origin is ignored, because such a page has no token, and a proxy may have
 * changed the node's name.
 */
function isOfAnotherSite({ origin, host, ...headers }: IncomingHttpHeaders, requiresToken: boolean): boolean {
  const site = headers["sec-fetch-site"];
  if (site !== undefined) return site === "cross-site";
  if (origin === undefined || requiresToken) return false;
  return /^https?:\/\/(.*)$/i.exec(origin)?.[1]?.toLowerCase() !== host?.toLowerCase();
}

const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|::1)$/i;

export function isLoopback(host: string): boolean {
  return LOOPBACK.test(host);
}

/**
 * Returns a predicate that is true if a request's Host is one of this machine's names. A page can make its own name
 * resolve to 127.0.0.1 and then read the node as its own origin (DNS rebinding), but its requests still contain that
 * name. Any name is accepted if a token is required, because the page does not have it, or if other machines are
 * allowed to connect anyway.
 */
function ownHosts(
  { host, allowedHosts = [] }: AccessOptions,
  tokens: Tokens,
): (host: string | undefined) => boolean {
  if (tokens.areRequired || !isLoopback(host)) return () => true;
  const names = new Set(
    ["localhost", "127.0.0.1", "[::1]", host.includes(":") ? `[${host}]` : host, ...allowedHosts].map(
      (name) => name.toLowerCase(),
    ),
  );
  // Nearly all requests have the same Host.
  let last: string | undefined;
  return (given) => {
    // Browsers always send a Host.
    if (given === undefined || given === last) return true;
    if (!names.has(given.replace(/:\d*$/, "").toLowerCase())) return false;
    last = given;
    return true;
  };
}

function wrongHost(host: string | undefined): CairnError {
  return new CairnError("FORBIDDEN", `${JSON.stringify(host)} is not a name of this node.`, {
    hint: "Use http://127.0.0.1 or http://localhost, name the host in allowed-hosts of cairn/http-server, or set tokens.",
  });
}

/** The response headers that a page is allowed to read. */
const EXPOSED = "cairn-tx, etag, link, location, retry-after, x-request-id";

const PREFLIGHT = {
  "access-control-allow-methods": "GET, HEAD, POST, PUT, DELETE",
  "access-control-allow-headers":
    "authorization, content-type, if-match, if-none-match, last-event-id, x-request-id",
  "access-control-max-age": "600",
};

/** Sets the response headers that permit the browser to use the response, if the page is allowed. */
function allowPage(origins: readonly string[], request: FastifyRequest, reply: FastifyReply): boolean {
  const { origin } = request.headers;
  const any = origins.includes("*");
  if (!any) void reply.header(...VARY);
  if (origin === undefined || !(any || origins.includes(origin))) return false;
  void reply.header("access-control-allow-origin", any ? "*" : origin);
  void reply.header("access-control-expose-headers", EXPOSED);
  return true;
}

function isPreflight({ method, headers }: FastifyRequest): boolean {
  return method === "OPTIONS" && headers["access-control-request-method"] !== undefined;
}

/** Headers that must occur only once, because Node would keep the first occurrence and silently drop the others. */
const SINGLE: readonly string[] = ["host", "authorization", "content-type"];
const SINGLE_LENGTHS = new Set(SINGLE.map(({ length }) => length));

/** Undefined if none of {@link SINGLE} is repeated. Takes 0.3 us; Node's `headersDistinct` takes 1 to 4 us. */
function repeatedHeader(rawHeaders: readonly string[]): string | undefined {
  let seen = 0;
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const raw = rawHeaders[at] ?? "";
    // The length rules out nearly all names.
    if (!SINGLE_LENGTHS.has(raw.length)) continue;
    const index = SINGLE.indexOf(raw.toLowerCase());
    if (index < 0) continue;
    if ((seen & (1 << index)) !== 0) return SINGLE[index];
    seen |= 1 << index;
  }
  return undefined;
}
