import { CairnError } from "@cairn/kv";
import type { DocumentKey } from "@cairn/client";
import { splitKey } from "@cairn/client/protocol";

/** The names that /api/v1 itself uses and that are therefore reserved. See the data model in docs/http.md. */
export const RESERVED_BUCKETS: ReadonlySet<string> = new Set([
  "tx",
  "events",
  "watch",
  "follow",
  "buckets",
  "checkpoints",
  "digest",
  "policies",
  "queues",
  "sql",
]);

/** The namespace of keys that do not name one. */
export const DEFAULT_NAMESPACE = "default";

/** The syntax of bucket names, some of which are reserved. */
export const BUCKET_PATTERN = "^[a-z][a-z0-9-]*$";
const BUCKET = new RegExp(BUCKET_PATTERN);
/** The maximum length of a bucket name, in bytes and characters (it is ASCII). */
export const MAX_BUCKET = 253;
/** The maximum length of a namespace, in bytes of UTF-8. */
export const MAX_NAMESPACE = 253;
/** The maximum length of a name, in bytes of UTF-8. */
export const MAX_NAME = 1024;

/** A cache of valid bucket names. There are few of them, and each operation checks one. */
const validBuckets = new Set<string>();
const MAX_CACHED_BUCKETS = 1_000;

/** Returns the reason why `bucket` is not a valid bucket name; undefined if it is valid. */
export function bucketProblem(bucket: unknown): string | undefined {
  if (validBuckets.has(bucket as string)) return undefined;
  if (typeof bucket !== "string") return "a bucket is text";
  if (!BUCKET.test(bucket)) return `bucket ${quote(bucket)} must match [a-z][a-z0-9-]*`;
  if (bucket.length > MAX_BUCKET) return `a bucket's name is at most ${MAX_BUCKET} bytes`;
  if (RESERVED_BUCKETS.has(bucket)) return `the bucket name ${quote(bucket)} is reserved`;
  if (validBuckets.size < MAX_CACHED_BUCKETS) validBuckets.add(bucket);
  return undefined;
}

/** Returns a key as `namespace/name`, including the default namespace. */
export function qualifiedKey(key: string): string {
  return key.includes("/") ? key : `${DEFAULT_NAMESPACE}/${key}`;
}

/** Returns the reason why these are not a valid namespace and name; undefined if they are valid. */
export function keyProblem(namespace: string, name: string): string | undefined {
  if (namespace.includes("/")) return `namespace ${quote(namespace)} contains a "/"`;
  if (namespace === "" || isLonger(namespace, MAX_NAMESPACE)) {
    return `a namespace has 1 to ${MAX_NAMESPACE} bytes, this one has ${byteLength(namespace)}`;
  }
  if (name === "" || isLonger(name, MAX_NAME)) {
    return `a name has 1 to ${MAX_NAME} bytes of UTF-8, this one has ${byteLength(name)}`;
  }
  // A lone surrogate has no UTF-8 encoding, so two different names could become the same bytes.
  if (!namespace.isWellFormed() || !name.isWellFormed()) return "a key must be valid Unicode";
  return undefined;
}

/** Returns a key built from its parts. Throws `REQUEST_INVALID` if they are not valid. */
export function documentKey(bucket: string, namespace: string, name: string): DocumentKey {
  const problem = bucketProblem(bucket) ?? keyProblem(namespace, name);
  if (problem !== undefined) throw invalid(problem);
  return { bucket, namespace, name };
}

/** Returns a key built from a bucket and `namespace/name`. Throws `REQUEST_INVALID` if they are not valid. */
export function parseDocumentKey(bucket: string, key: string): DocumentKey {
  const { namespace, name } = splitKey(key);
  return documentKey(bucket, namespace, name);
}

function invalid(problem: string): CairnError {
  return new CairnError(
    "REQUEST_INVALID",
    `Not a valid key: ${problem}.`,
    `Use a key of the form namespace/name in a bucket. The bucket must match [a-z][a-z0-9-]*, the namespace must have 1 to ${MAX_NAMESPACE} bytes and no "/", and the name must have 1 to ${MAX_NAME} bytes.`,
  );
}

/** Most strings are too short to have more than `maxBytes` bytes, regardless of their characters. */
function isLonger(text: string, maxBytes: number): boolean {
  return text.length * 3 > maxBytes && byteLength(text) > maxBytes;
}

function byteLength(text: string): number {
  return Buffer.byteLength(text, "utf8");
}

/** Quotes a string for use in messages, and truncates it if it is long. */
export function quote(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
}
