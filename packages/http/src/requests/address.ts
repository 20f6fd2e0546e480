import type { IncomingMessage } from "node:http";
import { CairnError } from "@cairn/kv";
import type { DocumentKey } from "@cairn/client";
import {
  bucketProblem,
  DEFAULT_NAMESPACE,
  documentKey,
  MAX_NAME,
  RESERVED_BUCKETS,
  ownMember,
} from "@cairn/text";
import { badRequest } from "../answers/request-error.ts";
import { parseFlag, type QueryParameters } from "./parameters.ts";

export const API = "/api/v1/";

export interface DocumentPath {
  readonly bucket: string;
  /** The key of the document; undefined if the address ends after the bucket. */
  readonly key?: DocumentKey;
}

export function pathOf(url: string): string {
  const end = url.indexOf("?");
  return end < 0 ? url : url.slice(0, end);
}

/** Reduces an absolute URL, as sent to proxies, to its path. Its host overrides the Host header (RFC 9112, 3.2.2). */
export function toOriginForm(request: IncomingMessage): void {
  const { url = "/" } = request;
  if (url.startsWith("/")) return;
  const [, host, path] = /^https?:\/\/([^/?#]*)(.*)$/i.exec(url) ?? [];
  if (host === undefined || path === undefined) return;
  request.headers.host = host;
  request.url = path.startsWith("/") ? path : `/${path}`;
}

/**
 * Parses `/api/v1/{bucket}/{namespace}/{name…}` as it was sent. The path is divided before its parts are decoded, each
 * exactly once, because `%2F` does not divide it. It is not normalized, because `a//b` and `a/./b` are valid names.
 */
export function parseDocumentPath(url: string): DocumentPath {
  const path = pathOf(url);
  if (latest !== undefined && path.startsWith(latest.prefix)) {
    const name = path.slice(latest.prefix.length);
    const { bucket, namespace } = latest;
    if (name.length <= MAX_NAME && UNESCAPED.test(name)) return { bucket, key: { bucket, namespace, name } };
  }
  const sent = sentBucket(path);
  if (sent === "") {
    throw new CairnError(
      "NOT_FOUND",
      `There is nothing at ${path}.`,
      "Use an address that GET /openapi.json lists. Documents are at /api/v1/{bucket}/{namespace}/{name}.",
    );
  }
  const bucket = decodePart(sent, "address");
  if (RESERVED_BUCKETS.has(bucket))
    throw new CairnError(
      "NOT_FOUND",
      `There is nothing at ${path}.`,
      bucket === "queues"
        ? "GET /api/v1/queues/{queue} returns the shards of a queue, and …/shards/{shard}/open the open entries of one. GET /openapi.json lists all addresses with their methods."
        : `Use another bucket, because the name "${bucket}" is reserved. GET /openapi.json lists all addresses with their methods.`,
    );
  const problem = bucketProblem(bucket);
  if (problem !== undefined) throw badRequest(`Not a valid address: ${problem}.`);
  const rest = path.slice(API.length + sent.length + 1);
  if (rest === "") return { bucket };
  const slash = rest.indexOf("/");
  const namespace = slash < 0 ? DEFAULT_NAMESPACE : decodePart(rest.slice(0, slash), "address");
  const name = decodePart(slash < 0 ? rest : rest.slice(slash + 1), "address");
  const key = documentKey(bucket, namespace, name);
  const prefix = `${API}${bucket}/${namespace}/`;
  if (path.startsWith(prefix)) latest = { prefix, bucket, namespace };
  return { bucket, key };
}

/** Matches names that are sent unescaped: printable ASCII without `%` and `?`. */
const UNESCAPED = /^[!-$&->@-~]+$/;

/** Clients that name a document usually name others in its namespace, so the same beginning is not parsed again. */
let latest: { readonly prefix: string; readonly bucket: string; readonly namespace: string } | undefined;

/** Returns the bucket in a URL below /api/v1/ as it was sent. Returns an empty string for any other URL. */
export function sentBucket(url: string): string {
  const path = pathOf(url);
  if (!path.startsWith(API)) return "";
  const slash = path.indexOf("/", API.length);
  return path.slice(API.length, slash < 0 ? undefined : slash);
}

export function documentUrl({ bucket, namespace, name }: DocumentKey): string {
  const segments = name.split("/").map(encodeURIComponent);
  // Clients resolve dot segments before they send a URL, so such names are sent as a parameter.
  if ([namespace, ...segments].some((segment) => segment === "." || segment === "..")) {
    return `${API}${bucket}?key=${encodeURIComponent(`${namespace}/${name}`)}`;
  }
  return `${API}${bucket}/${encodeURIComponent(namespace)}/${segments.join("/")}`;
}

/** The parameters of a request, by the names of their options. */
export type Query<P extends QueryParameters> = {
  readonly [K in keyof P as P[K]["option"]]?: ReturnType<P[K]["parse"]>;
} & {
  readonly [K in keyof P as P[K] extends { required: string } ? P[K]["option"] : never]: ReturnType<
    P[K]["parse"]
  >;
};

/**
 * Parses the query of `url`. Rejects unknown parameters (a misspelt filter would return too much), repeated ones unless
 * they are repeatable, and the lack of a required one.
 */
export function parseQuery<P extends QueryParameters>(url: string, parameters: P): Query<P> {
  const start = url.indexOf("?");
  const query: Record<string, unknown> = {};
  for (const pair of start < 0 ? [] : url.slice(start + 1).split("&")) {
    if (pair === "") continue;
    const equals = pair.indexOf("=");
    const name = decodeQuery(equals < 0 ? pair : pair.slice(0, equals));
    const parameter = ownMember(parameters, name);
    if (parameter === undefined) {
      const known = Object.keys(parameters).join(", ");
      throw badRequest(
        `Unknown parameter ${JSON.stringify(name)}.`,
        known === ""
          ? "Omit the parameter: this address has none."
          : `Use only the parameters of this address: ${known}.`,
      );
    }
    const { option, parse, isRepeatable } = parameter;
    const before = query[option];
    if (before !== undefined && isRepeatable !== true) {
      throw badRequest(`The parameter ${name} is given twice.`);
    }
    // A flag's name without a value sets the flag.
    const isBare = equals < 0 && parse === parseFlag;
    const value = isBare ? true : parse(equals < 0 ? "" : decodeQuery(pair.slice(equals + 1)), name);
    query[option] = Array.isArray(before) && Array.isArray(value) ? [...before, ...value] : value;
  }
  for (const name in parameters) {
    const { option = "", required } = ownMember(parameters, name) ?? {};
    if (required === undefined || query[option] !== undefined) continue;
    throw badRequest(
      `The parameter ${name}, ${required}, is missing.`,
      `Add ${name}= and the escaped value.`,
    );
  }
  return query as Query<P>;
}

function decodeQuery(part: string): string {
  return decodePart(part, "query", part.replaceAll("+", " "));
}

/** Decodes a part of a URL, which is named as it was sent if that fails. */
export function decodePart(part: string, where: "address" | "query", escaped = part): string {
  if (!escaped.includes("%")) return escaped;
  try {
    return decodeURIComponent(escaped);
  } catch {
    throw badRequest(
      `The ${where} has a percent escape that is malformed or not UTF-8 in ${JSON.stringify(part)}.`,
      "Write a literal % as %25, and other characters as the escapes of their UTF-8 bytes: é as %C3%A9.",
    );
  }
}
