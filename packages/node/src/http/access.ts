import { createHash, timingSafeEqual } from "node:crypto";
import type { IncomingHttpHeaders, IncomingMessage } from "node:http";
import { CairnError } from "@cairn/kv";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { HttpOptions } from "../api/system.ts";
import { BAD_REQUEST, badRequest, RequestError } from "./answers/request-error.ts";
import { isSafeMethod } from "./requests/request-head.ts";

/** The options that decide which requests are allowed. */
export type AccessOptions = Pick<HttpOptions, "host" | "authToken" | "corsOrigins" | "allowedHosts">;

/** The decisions of {@link guard} for requests that are answered before they reach the framework. */
export interface Guard {
  /** Returns whether a request without an Origin is allowed. */
  passes(request: IncomingMessage): boolean;
  /** The headers of every response to such a request. Names and values alternate. */
  readonly headers: readonly string[];
}

/** This header keeps caches from serving one page the response that they stored for another page. */
const VARY = ["vary", "origin"] as const;

/**
 * Rejects requests with ambiguous headers, requests without the token (except those to /health), writes that a page of
 * another site causes a browser to send, and requests whose Host is not a name of this machine. Responds to the
 * preflight requests of allowed pages.
 */
export function guard(app: FastifyInstance, options: AccessOptions): Guard {
  const { authToken, corsOrigins } = options;
  const expected = authToken === undefined ? undefined : digest(authToken);
  const isOwnHost = ownHosts(options);
  app.addHook("onRequest", (request, reply, done) => {
    const isAllowedPage = corsOrigins !== undefined && allowPage(corsOrigins, request, reply);
    if (isAllowedPage && isPreflight(request)) {
      void reply.code(204).headers(PREFLIGHT).send();
      return;
    }
    done(refusal(request.raw, expected, isOwnHost, isAllowedPage));
  });
  return {
    passes: (request) => refusal(request, expected, isOwnHost, false) === undefined,
    headers: corsOrigins === undefined || corsOrigins.includes("*") ? [] : VARY,
  };
}

function refusal(
  request: IncomingMessage,
  expected: Buffer | undefined,
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
  if (!isSafeMethod(request.method) && !isAllowedPage && isOfAnotherSite(headers, expected !== undefined)) {
    return new RequestError("UNAUTHORIZED", "Pages of other sites are not allowed to write.", {
      status: 403,
      hint: "Send the request from a program or a page of the same origin, or name the page's origin in cors-origins.",
    });
  }
  if (expected === undefined || isHealth(request.url ?? "")) return undefined;
  const given = /^bearer +(\S+)\s*$/i.exec(headers.authorization ?? "")?.[1];
  if (given !== undefined && timingSafeEqual(digest(given), expected)) return undefined;
  return new CairnError(
    "UNAUTHORIZED",
    given === undefined ? "This node requires a token." : "The token is not valid for this node.",
    {
      hint: "Pass the node's auth-token to commands with --token or CAIRN_AUTH_TOKEN, and in requests with the header Authorization: Bearer TOKEN.",
    },
  );
}

/**
 * Returns the error for an unknown transfer coding. The encoded bytes must not be mistaken for the body itself (RFC
 * 9112, 6.1).
 */
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

/**
 * Returns a predicate that is true if a request's Host is one of this machine's names. A page can make its own name
 * resolve to 127.0.0.1 and then read the node as its own origin (DNS rebinding), but its requests still contain that
 * name. Any name is accepted if a token is required, because the page does not have it, or if other machines are
 * allowed to connect anyway.
 */
function ownHosts({
  host,
  authToken,
  allowedHosts = [],
}: AccessOptions): (host: string | undefined) => boolean {
  if (authToken !== undefined || !LOOPBACK.test(host)) return () => true;
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

function wrongHost(host: string | undefined): RequestError {
  return new RequestError("UNAUTHORIZED", `${JSON.stringify(host)} is not a name of this node.`, {
    status: 403,
    hint: "Use http://127.0.0.1 or http://localhost, name the host in allowed-hosts of cairn/http-server, or set an auth-token.",
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

/**
 * Returns whether the request is from an allowed page. If it is, sets the response headers that permit the browser to
 * use the response.
 */
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

/**
 * Returns a header of {@link SINGLE} that occurs more than once; undefined if there is none. The search takes 0.3 us;
 * Node's `headersDistinct` would take 1 to 4 us.
 */
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

function isHealth(url: string): boolean {
  return url.startsWith("/health/");
}

/** Returns a token's SHA-256. Because digests have equal lengths, a comparison takes the same time for any token. */
function digest(token: string): Buffer {
  return createHash("sha256").update(token).digest();
}
