import { RESERVED_BUCKETS } from "@cairn/text";
import { badRequest } from "../answers/request-error.ts";
import type { Route } from "../openapi/route.ts";
import { API, pathOf, sentBucket } from "../requests/address.ts";

export interface RoutePlace {
  /** The routes by the methods that the address supports; none if there is nothing at the address. */
  readonly methods: ReadonlyMap<string, Route>;
  readonly params: Readonly<Record<string, string>>;
}

export const NOWHERE: RoutePlace = { methods: new Map(), params: {} };
const BUCKET = `${API}{bucket}`;
/** The path of a document whose key is a parameter. */
export const BY_KEY = `${API}buckets/{bucket}/document`;

class ServedPlace implements RoutePlace {
  readonly methods = new Map<string, Route>();
  readonly params = {};
}

/** The routes by their addresses. The most specific address that a URL matches decides, whatever the method is. */
export class RouteTable {
  readonly #exact = new Map<string, ServedPlace>();
  readonly #patterns = new Map<string, ServedPlace & { readonly pattern: RegExp }>();
  readonly #lists = new ServedPlace();
  readonly #documents = new ServedPlace();

  constructor(routes: readonly Route[]) {
    for (const route of routes) {
      const { methods } = this.#placeOf(route.path);
      methods.set(route.method, route);
      if (route.method === "GET") methods.set("HEAD", route);
    }
  }

  find(method: string, url: string): RoutePlace {
    const path = pathOf(url);
    const sent = sentBucket(path);
    if (path.startsWith(API) && !RESERVED_BUCKETS.has(sent)) {
      if (sent === "" || path.length > API.length + sent.length + 1) return this.#documents;
      // The key of a document may be in the query.
      return /[?&]key=/.test(url) ? (this.#patterns.get(BY_KEY) ?? NOWHERE) : this.#lists;
    }
    const exact = this.#exact.get(path);
    if (exact !== undefined) return exact;
    for (const { pattern, methods } of this.#patterns.values()) {
      const match = pattern.exec(path);
      if (match !== null) return { methods, params: decoded(match.groups ?? {}) };
    }
    // The routes of documents say that the bucket is reserved.
    return sent !== "" && this.#documents.methods.has(method) ? this.#documents : NOWHERE;
  }

  #placeOf(path: string): ServedPlace {
    if (path === BUCKET) return this.#lists;
    if (path.startsWith(BUCKET)) return this.#documents;
    const known = this.#exact.get(path) ?? this.#patterns.get(path);
    if (known !== undefined) return known;
    const place = new ServedPlace();
    const pattern = new RegExp(`^${path.replaceAll(/\{(\w+)\}/g, "(?<$1>[^/]+)")}$`);
    if (path.includes("{")) this.#patterns.set(path, Object.assign(place, { pattern }));
    else this.#exact.set(path, place);
    return place;
  }
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
