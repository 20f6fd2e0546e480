import type { IncomingMessage } from "node:http";
import type { FastifyInstance } from "fastify";
import { RequestError } from "../answers/error-response.ts";

/** Which methods the routes of a server take, by address. */
export interface RouteMethods {
  /** Those of the most exact route that `url` matches. */
  at(url: string): readonly string[];
  /** The same for an address that has a route of its own; nothing for one that is a document's. */
  ofOwn(url: string): readonly string[];
  /** Every route, as `METHOD /address/with/:parameters`. */
  readonly routes: readonly string[];
}

/** Notes every route that is registered from now on. */
export function collectMethods(app: FastifyInstance): RouteMethods {
  const patterns: { readonly method: string; readonly pattern: RegExp; readonly rank: number }[] = [];
  const routes: string[] = [];
  app.addHook("onRoute", ({ method, url }) => {
    const pattern = new RegExp(
      `^${url
        .replaceAll(".", "\\.")
        .replaceAll(/:[^/]+/g, "[^/]+")
        .replaceAll("*", ".*")}$`,
    );
    for (const one of [method].flat()) {
      patterns.push({ method: one, pattern, rank: rankOf(url) });
      routes.push(`${one} ${url}`);
    }
  });
  const at = (url: string, lowest: number): readonly string[] => {
    const path = pathOf(url);
    const found = patterns.filter(({ pattern, rank }) => rank >= lowest && pattern.test(path));
    const best = Math.max(...found.map(({ rank }) => rank));
    return [...new Set(found.filter(({ rank }) => rank === best).map(({ method }) => method))];
  };
  return { routes, at: (url) => at(url, DOCUMENTS_RANK), ofOwn: (url) => at(url, DOCUMENTS_RANK + 1) };
}

const DOCUMENTS_RANK = 0;

/** Of several routes that an address matches it is that of the most exact one, whatever the method. */
function rankOf(route: string): number {
  if (route.includes("*")) return DOCUMENTS_RANK;
  return route.includes(":") ? 1 : 2;
}

/** An address without its query. */
export function pathOf(url: string): string {
  const end = url.indexOf("?");
  return end < 0 ? url : url.slice(0, end);
}

/** Whether requests with this method change nothing (RFC 9110, 9.2.1). */
export function isSafeMethod(method: string | undefined): boolean {
  return method === "GET" || method === "HEAD" || method === "OPTIONS";
}

/**
 * Takes scheme and host off an address that has them before its path, as proxies are asked. That host counts, whatever the header says
 * (RFC 9112, 3.2.2).
 */
export function toOriginForm(request: IncomingMessage): void {
  const { url = "/" } = request;
  if (url.startsWith("/")) return;
  const [, host, path] = /^https?:\/\/([^/?#]*)(.*)$/i.exec(url) ?? [];
  if (host === undefined || path === undefined) return;
  request.headers.host = host;
  request.url = path.startsWith("/") ? path : `/${path}`;
}

/** 405: there is something at the address, but not for this method. */
export function methodNotAllowed(method: string, path: string, allowed: readonly string[]): RequestError {
  return new RequestError(
    "METHOD_NOT_ALLOWED",
    `There is no ${method} ${path}; it takes ${allowed.join(", ")}.`,
    {
      hint: "GET /openapi.json lists all addresses with their methods.",
      headers: { allow: allowed.join(", ") },
    },
  );
}
