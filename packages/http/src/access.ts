import type { IncomingHttpHeaders, IncomingMessage } from "node:http";
import { CairnError } from "@cairn/kv";
import type { HttpOptions } from "@cairn/engine";
import type { Headers } from "./answers/answer.ts";
import { BAD_REQUEST, badRequest, RequestError } from "./answers/request-error.ts";
import type { Route } from "./openapi/route.ts";
import { NOTHING, type Permit } from "./permits/permit.ts";
import type { Tokens } from "./permits/tokens.ts";
import { isSafeMethod } from "./requests/request-head.ts";

export type AccessOptions = Pick<HttpOptions, "host" | "corsOrigins" | "allowedHosts">;

export type Guard = ReturnType<typeof guard>;

/** Returns the checks that a request must pass before anything else is done with it. */
export function guard(options: AccessOptions, tokens: Tokens) {
  const { corsOrigins } = options;
  const isOwnHost = ownHosts(options, tokens);
  return {
    /** Sets the response headers that permit a browser to use the response. Returns whether the page is allowed to. */
    allowPage({ headers: { origin } }: IncomingMessage, headers: Record<string, string | number>): boolean {
      if (corsOrigins === undefined) return false;
      const any = corsOrigins.includes("*");
      // Otherwise, caches could serve one page the response that they stored for another page.
      if (!any) headers["vary"] = "origin";
      if (origin === undefined || !(any || corsOrigins.includes(origin))) return false;
      headers["access-control-allow-origin"] = any ? "*" : origin;
      headers["access-control-expose-headers"] = EXPOSED;
      return true;
    },
    /**
     * Returns what the sender may do. Throws for requests with ambiguous headers, writes that a page of another origin
     * causes a browser to send, requests whose Host is not a name of this machine, requests without a token (unless their
     * route requires none), and requests whose token does not have the right that the route requires.
     */
    permitOf(request: IncomingMessage, route: Route | undefined, isAllowedPage: boolean): Permit {
      requireProper(request, tokens, isOwnHost, isAllowedPage);
      if (route?.right === "none") return NOTHING;
      const [, given] = /^bearer +(\S+)\s*$/i.exec(request.headers.authorization ?? "") ?? [];
      const permit = tokens.permitOf(given);
      if (permit === undefined)
        throw new CairnError(
          "UNAUTHORIZED",
          given === undefined ? "This node requires a token." : "The token is not valid for this node.",
          "Pass one of the node's tokens to commands with --token or CAIRN_AUTH_TOKEN, and in requests with the header Authorization: Bearer TOKEN.",
        );
      if (route !== undefined && !permit.has(route.right))
        permit.require(route.right, `${request.method} ${route.label}`);
      return permit;
    },
  };
}

function requireProper(
  request: IncomingMessage,
  tokens: Tokens,
  isOwnHost: (host: string | undefined) => boolean,
  isAllowedPage: boolean,
): void {
  const { headers } = request;
  if (headers.host === undefined && request.httpVersion === "1.1") {
    throw badRequest(
      "The request has no Host header.",
      "Send the header Host with the name and port of the node, as HTTP/1.1 requires.",
    );
  }
  const repeated = repeatedHeader(request.rawHeaders);
  if (repeated !== undefined) {
    throw badRequest(`The request has the header ${repeated} twice.`, "Send the header only once.");
  }
  if (headers.expect !== undefined && !/100-continue/i.test(headers.expect)) {
    throw new RequestError(
      BAD_REQUEST,
      `The request has the unknown expectation ${JSON.stringify(headers.expect)}.`,
      { status: 417, hint: "Omit the header Expect, or send Expect: 100-continue." },
    );
  }
  const coding = headers["transfer-encoding"];
  if (coding !== undefined && !/^chunked$/i.test(coding.trim())) {
    // The encoded bytes must not be mistaken for the body itself (RFC 9112, 6.1).
    throw new RequestError(BAD_REQUEST, `The transfer coding ${JSON.stringify(coding)} is not supported.`, {
      status: 501,
      hint: "Send the body without a transfer coding, or in chunks (Transfer-Encoding: chunked).",
    });
  }
  if (!isOwnHost(headers.host)) {
    throw new CairnError(
      "FORBIDDEN",
      `${JSON.stringify(headers.host)} is not a name of this node.`,
      "Use http://127.0.0.1 or http://localhost, name the host in allowed-hosts of cairn/http-server, or set tokens.",
    );
  }
  // Form bodies are parsed as JSON, and browsers send forms without a preflight request.
  if (!isSafeMethod(request.method) && !isAllowedPage && isOfAnotherOrigin(headers, tokens.areRequired)) {
    throw new CairnError(
      "FORBIDDEN",
      "Pages of other origins are not allowed to write.",
      "Send the request from a program or a page of the same origin, or name the page's origin in cors-origins.",
    );
  }
}

/**
 * Returns whether a page of another origin caused this request; one on another port of this machine is of another
 * program. Without Sec-Fetch-Site (which browsers send only to HTTPS and to this machine), the page's origin decides,
 * except if a token is required: such a page has none, and a proxy may have changed the node's name.
 */
function isOfAnotherOrigin(
  { origin, host, ...headers }: IncomingHttpHeaders,
  requiresToken: boolean,
): boolean {
  const site = headers["sec-fetch-site"];
  if (site !== undefined) return site !== "same-origin" && site !== "none";
  if (origin === undefined || requiresToken) return false;
  return /^https?:\/\/(.*)$/i.exec(origin)?.[1]?.toLowerCase() !== host?.toLowerCase();
}

const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|::1)$/i;

export function isLoopback(host: string): boolean {
  return LOOPBACK.test(host);
}

/**
 * Returns a predicate that is true if a request's Host is one of this machine's names: a page that makes its own name
 * resolve to 127.0.0.1 (DNS rebinding) still sends that name. Any name is accepted if a token is required, which the
 * page lacks, or if other machines may connect anyway.
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

const EXPOSED = "cairn-position, cairn-tx, etag, link, location, retry-after, x-request-id";

/** The headers of the response to a preflight request of an allowed page. */
export const PREFLIGHT: Headers = {
  "access-control-allow-methods": "GET, HEAD, POST, PUT, DELETE",
  "access-control-allow-headers":
    "authorization, content-type, if-match, if-none-match, last-event-id, x-request-id",
  "access-control-max-age": "600",
};

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
