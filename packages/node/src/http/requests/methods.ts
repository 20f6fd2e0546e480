import type { FastifyInstance } from "fastify";
import { RequestError } from "../answers/error-response.ts";

/** Which methods the routes of a server take, by address. */
export interface RouteMethods {
  /** Those of the routes that `url` matches, in the order of registration. */
  at(url: string): readonly string[];
  /** Every route, as `METHOD /address/with/:parameters`. */
  readonly routes: readonly string[];
}

/** Notes every route that is registered from now on. */
export function collectMethods(app: FastifyInstance): RouteMethods {
  const patterns: { readonly method: string; readonly pattern: RegExp }[] = [];
  const routes: string[] = [];
  app.addHook("onRoute", ({ method, url }) => {
    const pattern = new RegExp(
      `^${url
        .replaceAll(".", "\\.")
        .replaceAll(/:[^/]+/g, "[^/]+")
        .replaceAll("*", ".*")}$`,
    );
    for (const one of [method].flat()) {
      patterns.push({ method: one, pattern });
      routes.push(`${one} ${url}`);
    }
  });
  return {
    routes,
    at: (url) => {
      const path = pathOf(url);
      const found = patterns.filter(({ pattern }) => pattern.test(path)).map(({ method }) => method);
      return [...new Set(found)];
    },
  };
}

/** An address without its query. */
export function pathOf(url: string): string {
  const end = url.indexOf("?");
  return end < 0 ? url : url.slice(0, end);
}

/** An address as nearly everybody sends it, without the scheme and host that may stand before it. */
export function originForm(url: string): string {
  if (url.startsWith("/")) return url;
  const path = /^https?:\/\/[^/?#]*(.*)$/i.exec(url)?.[1];
  if (path === undefined) return url;
  return path.startsWith("/") ? path : `/${path}`;
}

/** 405: there is something at the address, but not for this method. */
export function methodNotAllowed(method: string, path: string, allowed: readonly string[]): RequestError {
  return new RequestError("NOT_FOUND", `There is no ${method} ${path}; it takes ${allowed.join(", ")}.`, {
    status: 405,
    hint: "docs/http.md and /openapi.json list all addresses.",
    headers: { allow: allowed.join(", ") },
  });
}
