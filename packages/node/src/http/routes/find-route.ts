import { RESERVED_BUCKETS } from "../../text/document-key.ts";
import { badRequest } from "../answers/request-error.ts";
import type { Route } from "../openapi/route.ts";
import { API, pathOf, sentBucket } from "../requests/address.ts";

/** The routes of an address by their methods. */
type Methods = ReadonlyMap<string, Route>;

export interface FoundRoute {
  /** Undefined if the address does not support the method, or if there is nothing at the address. */
  readonly route: Route | undefined;
  readonly params: Readonly<Record<string, string>>;
  /** The methods that the address supports. */
  readonly methods: Methods;
}

const NONE: Methods = new Map();
const BUCKET = `${API}{bucket}`;

/** Finds the route of a request: the most specific one that matches the address, regardless of the method. */
export class RouteTable {
  readonly #exact = new Map<string, Map<string, Route>>();
  readonly #patterns = new Map<string, { readonly pattern: RegExp; readonly methods: Map<string, Route> }>();
  readonly #lists = new Map<string, Route>();
  readonly #documents = new Map<string, Route>();

  constructor(routes: readonly Route[]) {
    for (const route of routes) {
      const methods = this.#methodsAt(route.path);
      methods.set(route.method, route);
      if (route.method === "GET") methods.set("HEAD", route);
    }
  }

  find(method: string, url: string): FoundRoute {
    const path = pathOf(url);
    const sent = sentBucket(path);
    if (path.startsWith(API) && !RESERVED_BUCKETS.has(sent)) {
      const isBucket = sent !== "" && path.length <= API.length + sent.length + 1;
      if (!isBucket) return found(this.#documents, method);
      // The key of a document may be in the query.
      return found(/[?&]key=/.test(url) ? this.#byKey() : this.#lists, method);
    }
    const exact = this.#exact.get(path);
    if (exact !== undefined) return found(exact, method);
    for (const { pattern, methods } of this.#patterns.values()) {
      const match = pattern.exec(path);
      if (match !== null) return found(methods, method, decoded(match.groups ?? {}));
    }
    // The routes of documents say that the bucket is reserved.
    const route = sent === "" ? undefined : this.#documents.get(method);
    return { route, params: {}, methods: NONE };
  }

  #byKey(): Methods {
    return this.#patterns.get(`${API}buckets/{bucket}/document`)?.methods ?? NONE;
  }

  #methodsAt(path: string): Map<string, Route> {
    if (path === BUCKET) return this.#lists;
    if (path.startsWith(BUCKET)) return this.#documents;
    if (!path.includes("{")) return inserted(this.#exact, path, new Map<string, Route>());
    const pattern = new RegExp(`^${path.replaceAll(/\{(\w+)\}/g, "(?<$1>[^/]+)")}$`);
    return inserted(this.#patterns, path, { pattern, methods: new Map<string, Route>() }).methods;
  }
}

function found(methods: Methods, method: string, params: FoundRoute["params"] = {}): FoundRoute {
  return { route: methods.get(method), params, methods };
}

function inserted<T>(map: Map<string, T>, key: string, value: T): T {
  const known = map.get(key);
  if (known !== undefined) return known;
  map.set(key, value);
  return value;
}

function decoded(params: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  try {
    return Object.fromEntries(
      Object.entries(params).map(([name, value]) => [name, decodeURIComponent(value)]),
    );
  } catch {
    throw badRequest(
      "The address has a malformed percent escape.",
      "Write a literal % as %25, and other characters as the escapes of their UTF-8 bytes.",
    );
  }
}
