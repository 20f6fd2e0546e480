import { createHash, timingSafeEqual } from "node:crypto";
import type { IncomingHttpHeaders, IncomingMessage } from "node:http";
import { CairnError } from "@cairn/kv";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { HttpOptions } from "../api/system.ts";
import { BAD_REQUEST, badRequest, RequestError } from "./answers/error-response.ts";
import { isSafeMethod } from "./requests/methods.ts";

/** What decides who may ask. */
export type AccessOptions = Pick<HttpOptions, "host" | "authToken" | "corsOrigins" | "allowedHosts">;

/** What {@link guard} decides, for whoever answers before the framework does. */
export interface Guard {
  /** Whether a request of no page (without an Origin) is one of those that may ask. */
  passes(request: IncomingMessage): boolean;
  /** What every answer to such a request says: names and values in turn. */
  readonly headers: readonly string[];
}

/** What is kept for one page must not be given to another. */
const VARY = ["vary", "origin"] as const;

/**
 * Refuses requests without the token (all but /health), writes that a page of another site makes a browser send, and what is addressed
 * to a name that is not this machine's. Answers what browsers ask before requests of pages that are allowed.
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
    const refused = refusal(request.raw, expected, isOwnHost, isAllowedPage);
    if (refused === undefined) done();
    else done(refused);
  });
  return {
    passes: (request) => refusal(request, expected, isOwnHost, false) === undefined,
    headers: corsOrigins === undefined || corsOrigins.includes("*") ? [] : VARY,
  };
}

/** What stays encoded would be taken for the body itself (RFC 9112, 6.1). */
function unknownTransferCoding(coding: string): RequestError {
  return new RequestError(BAD_REQUEST, `The transfer coding ${JSON.stringify(coding)} is not understood.`, {
    status: 501,
    hint: "Send the body as it is, whole or in chunks (Transfer-Encoding: chunked).",
  });
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
      "The request has no Host.",
      "HTTP/1.1 asks for that header, with the name and port of the node.",
    );
  }
  const twice = repeatedHeader(request.rawHeaders);
  if (twice !== undefined) {
    return badRequest(
      `The request has the header ${twice} twice.`,
      "Which of them is meant cannot be known.",
    );
  }
  const coding = headers["transfer-encoding"];
  if (coding !== undefined && !/^chunked$/i.test(coding.trim())) return unknownTransferCoding(coding);
  if (!isOwnHost(headers.host)) return wrongHost(headers.host);
  // Bodies are taken as JSON whatever a form says they are, so browsers would not ask first.
  if (!isSafeMethod(request.method) && !isAllowedPage && isOfAnotherSite(headers, expected !== undefined)) {
    return new RequestError("UNAUTHORIZED", "A page of another site may not write.", {
      status: 403,
      hint: "Send the request from a program or a page of the same origin, or name the page's origin in cors-origins.",
    });
  }
  if (expected === undefined || isHealth(request.url ?? "")) return undefined;
  const given = /^bearer +(\S+)\s*$/i.exec(headers.authorization ?? "")?.[1];
  if (given !== undefined && timingSafeEqual(digest(given), expected)) return undefined;
  return new CairnError(
    "UNAUTHORIZED",
    given === undefined ? "This node asks for a token." : "The token is not the one of this node.",
    {
      hint: "Give the node's auth-token: commands take --token or CAIRN_AUTH_TOKEN, a request the header Authorization: Bearer with it.",
    },
  );
}

/**
 * Whether a page of another site makes a browser send this. Browsers say so themselves, but not to addresses that are neither HTTPS nor
 * this machine's, and older ones never do: then the page's origin tells. Where a token is asked for such a page has none, and what
 * stands before the node may have changed its name.
 */
function isOfAnotherSite({ origin, host, ...headers }: IncomingHttpHeaders, asksToken: boolean): boolean {
  const site = headers["sec-fetch-site"];
  if (site !== undefined) return site === "cross-site";
  if (origin === undefined || asksToken) return false;
  return /^https?:\/\/(.*)$/i.exec(origin)?.[1]?.toLowerCase() !== host?.toLowerCase();
}

const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|::1)$/i;

/**
 * Whether a request's Host is one of this machine's names. A page can have its own name resolve to 127.0.0.1 and then read as the same
 * origin what nobody outside of this machine should (DNS rebinding); its requests still say that name. Where a token is asked for the
 * page has none, and where others may connect anyway a name protects nothing.
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
  // Nearly every request names the same one.
  let last: string | undefined;
  return (given) => {
    // Browsers always send one.
    if (given === undefined || given === last) return true;
    if (!names.has(given.replace(/:\d*$/, "").toLowerCase())) return false;
    last = given;
    return true;
  };
}

function wrongHost(host: string | undefined): RequestError {
  return new RequestError("UNAUTHORIZED", `This node is not addressed as ${JSON.stringify(host)}.`, {
    status: 403,
    hint: "Use http://127.0.0.1 or localhost, name the host in allowed-hosts of cairn/http-server, or set an auth-token.",
  });
}

/** Headers of an answer that a page may see. */
const EXPOSED = "cairn-tx, etag, link, location, retry-after, x-request-id";

const PREFLIGHT = {
  "access-control-allow-methods": "GET, HEAD, POST, PUT, DELETE",
  "access-control-allow-headers":
    "authorization, content-type, if-match, if-none-match, last-event-id, x-request-id",
  "access-control-max-age": "600",
};

/** Whether the page that asks is one of those allowed; then the answer says so to the browser. */
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

/** Headers that Cairn reads, of which Node takes the first and drops the others. */
const SINGLE: readonly string[] = ["host", "authorization", "content-type"];
const SINGLE_LENGTHS = new Set(SINGLE.map(({ length }) => length));

/** One of {@link SINGLE} that stands there more than once. */
function repeatedHeader(rawHeaders: readonly string[]): string | undefined {
  let seen = 0;
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const raw = rawHeaders[at] ?? "";
    // For nearly all names their length tells.
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

/** Comparing digests takes the same time whatever the lengths. */
function digest(token: string): Buffer {
  return createHash("sha256").update(token).digest();
}
