import { CairnError } from "@cairn/kv";
import type { FastifyInstance, FastifyRequest } from "fastify";
import { RESERVED_BUCKETS } from "../text/document-key.ts";
import { methodNotAllowed } from "./answers/request-error.ts";
import { pathOf, sentBucket } from "./requests/address.ts";
import { preconditionProblem } from "./requests/preconditions.ts";

/** The methods that a server's routes accept, by URL. */
export interface RouteMethods {
  /** Returns the methods of the most specific route that `url` matches. */
  at(url: string): readonly string[];
  /**
   * Returns the methods of the most specific route that `url` matches, but ignores the routes of documents, which match
   * nearly any URL.
   */
  ofOwn(url: string): readonly string[];
  /** Every route, as `METHOD /address/with/:parameters`. */
  readonly routes: readonly string[];
}

declare module "fastify" {
  interface FastifyContextConfig {
    /** True if the route evaluates If-Match and If-None-Match. */
    preconditions?: boolean;
  }
}

/**
 * Rejects requests that match no route, requests whose address resembles a document's address but is not one, and
 * requests with a precondition that their route would ignore.
 */
export function refuseUnserved(app: FastifyInstance): void {
  const methods = collectMethods(app);
  app.addHook("onRequest", ({ method, url, headers, routeOptions }: FastifyRequest, _reply, done) => {
    const { url: route, config } = routeOptions;
    if (RESERVED_BUCKETS.has(sentBucket(url))) {
      const served = methods.ofOwn(url);
      const isOtherMethod = served.length > 0 && !served.includes(method);
      if (route === undefined || isOtherMethod) return done(unserved(method, url, served));
    } else if (route === undefined) return done(unserved(method, url, methods.at(url)));
    done(preconditionProblem(headers, method, config.preconditions === true));
  });
}

function unserved(method: string, url: string, allowed: readonly string[]): CairnError {
  if (allowed.length > 0) return methodNotAllowed(method, pathOf(url), allowed);
  return new CairnError("NOT_FOUND", `Unknown address: ${method} ${pathOf(url)}.`, {
    hint: "Use one of the addresses that GET /openapi.json lists.",
  });
}

/** Records every route that is registered after this call. */
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

/** If several routes match a URL, the one with the highest rank applies, regardless of the method. */
function rankOf(route: string): number {
  if (route.includes("*")) return DOCUMENTS_RANK;
  return route.includes(":") ? 1 : 2;
}
