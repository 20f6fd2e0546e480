import { CairnError } from "@cairn/kv";
import type { DocumentKey } from "@cairn/client";
import { bucketProblem, DEFAULT_NAMESPACE, documentKey, RESERVED_BUCKETS } from "../../text/document-key.ts";
import { badRequest } from "../answers/error-response.ts";
import { pathOf } from "./methods.ts";

/** What the addresses of documents begin with. */
export const DOCUMENTS = "/api/v1/";

/** What an address below /api/v1/ names: a bucket, or a document in it. */
export interface DocumentPath {
  readonly bucket: string;
  /** Undefined where the address ends after the bucket. */
  readonly key?: DocumentKey;
}

/**
 * Reads `/api/v1/{bucket}/{namespace}/{name…}` from the address as it was sent. The router's own decoding is not used: it
 * cannot tell `/` from `%2F` and tidies what are legal names (`a//b`, `a/./b`). Everything is decoded exactly once.
 */
export function parseDocumentPath(url: string): DocumentPath {
  const path = pathOf(url);
  if (!path.startsWith(DOCUMENTS)) throw notFound(path);
  const slash = path.indexOf("/", DOCUMENTS.length);
  const bucket = decode(slash < 0 ? path.slice(DOCUMENTS.length) : path.slice(DOCUMENTS.length, slash));
  if (bucket === "") throw notFound(path);
  if (RESERVED_BUCKETS.has(bucket)) throw reserved(bucket);
  const problem = bucketProblem(bucket);
  if (problem !== undefined) throw badRequest(`Not a valid address: ${problem}.`);
  if (slash < 0 || slash === path.length - 1) return { bucket };
  const rest = path.slice(slash + 1);
  const next = rest.indexOf("/");
  const namespace = next < 0 ? DEFAULT_NAMESPACE : decode(rest.slice(0, next));
  const name = decode(next < 0 ? rest : rest.slice(next + 1));
  return { bucket, key: documentKey(bucket, namespace, name) };
}

/** What stands in the place of the bucket in an address below /api/v1/, as it was sent; nothing elsewhere. */
export function bucketIn(url: string): string {
  const path = pathOf(url);
  if (!path.startsWith(DOCUMENTS)) return "";
  const slash = path.indexOf("/", DOCUMENTS.length);
  return path.slice(DOCUMENTS.length, slash < 0 ? undefined : slash);
}

/** The address of a document, every part escaped. */
export function documentUrl(key: DocumentKey): string {
  const name = key.name.split("/").map(encodeURIComponent);
  // Clients resolve dot segments before they send, so such names go as a parameter.
  if (name.some((segment) => segment === "." || segment === "..") || isDots(key.namespace)) {
    return `${DOCUMENTS}${key.bucket}?key=${encodeURIComponent(`${key.namespace}/${key.name}`)}`;
  }
  return `${DOCUMENTS}${key.bucket}/${encodeURIComponent(key.namespace)}/${name.join("/")}`;
}

function isDots(segment: string): boolean {
  return segment === "." || segment === "..";
}

function decode(segment: string): string {
  if (!segment.includes("%")) return segment;
  try {
    return decodeURIComponent(segment);
  } catch {
    throw badRequest(
      `The address has a malformed percent escape in ${JSON.stringify(segment)}.`,
      "Write a literal % as %25.",
    );
  }
}

function notFound(path: string): CairnError {
  return new CairnError("NOT_FOUND", `There is nothing at ${path}.`, {
    hint: "Documents are at /api/v1/{bucket}/{namespace}/{name}; GET /openapi.json lists all addresses.",
  });
}

function reserved(bucket: string): CairnError {
  return new CairnError("NOT_FOUND", `There is nothing at ${DOCUMENTS}${bucket} for this method.`, {
    hint: `"${bucket}" is a reserved name and no bucket; GET /openapi.json lists all addresses with their methods.`,
  });
}
