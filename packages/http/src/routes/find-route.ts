import { RESERVED_BUCKETS } from "@cairn/text";
import type { Route } from "../openapi/route.ts";
import { API, decodePart, pathOf, sentBucket } from "../requests/address.ts";

export interface RoutePlace {
  /** The routes by the methods that the address supports; none if there is nothing at the address. */
  readonly methods: ReadonlyMap<string, Route>;
  readonly params: Readonly<Record<string, string>>;
}

export const NOWHERE: RoutePlace = { methods: new Map(), params: {} };
const BUCKET = `${API}{bucket}`;
/** The path of a document whose key is a parameter. */
export const BY_KEY = `${API}buckets/{bucket}/document`;

const newPlace = () => ({ methods: new Map<string, Route>(), params: {} });
type ServedPlace = ReturnType<typeof newPlace>;

/** Returns a function that finds a route. The most specific address that a URL matches decides, whatever the method is. */
export function routeTable(routes: readonly Route[]): (method: string, url: string) => RoutePlace {
  const exact = new Map<string, ServedPlace>();
  const patterns = new Map<string, ServedPlace & { readonly pattern: RegExp }>();
  const lists = newPlace();
  const documents = newPlace();

  function placeOf(path: string): ServedPlace {
    if (path === BUCKET) return lists;
    if (path.startsWith(BUCKET)) return documents;
    const known = exact.get(path) ?? patterns.get(path);
    if (known !== undefined) return known;
    const place = newPlace();
    const pattern = new RegExp(`^${path.replaceAll(/\{(\w+)\}/g, "(?<$1>[^/]+)")}$`);
    if (path.includes("{")) patterns.set(path, Object.assign(place, { pattern }));
    else exact.set(path, place);
    return place;
  }

  for (const route of routes) {
    const { methods } = placeOf(route.path);
    methods.set(route.method, route);
    if (route.method === "GET") methods.set("HEAD", route);
  }
  return (method, url) => {
    const path = pathOf(url);
    const sent = sentBucket(path);
    if (path.startsWith(API) && !RESERVED_BUCKETS.has(sent)) {
      if (sent === "" || path.length > API.length + sent.length + 1) return documents;
      // The key of a document may be in the query.
      const query = new URLSearchParams(url.slice(path.length));
      return query.has("key") ? (patterns.get(BY_KEY) ?? NOWHERE) : lists;
    }
    const found = exact.get(path);
    if (found !== undefined) return found;
    for (const { pattern, methods } of patterns.values()) {
      const match = pattern.exec(path);
      if (match !== null) return { methods, params: decoded(match.groups ?? {}) };
    }
    // The routes of documents say that the bucket is reserved.
    return sent !== "" && documents.methods.has(method) ? documents : NOWHERE;
  };
}

function decoded(params: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(params).map(([name, value]) => [name, decodePart(value, "address")]),
  );
}
