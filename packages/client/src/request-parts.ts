import type { AnyOperation, Transaction } from "./types/transaction.ts";
import { CairnClientError } from "./types/client-error.ts";
import type { ClientPage, PointInTime } from "./types/client-types.ts";
import { escapedName } from "./escaped.ts";
import { jsonProblem } from "./types/json-problem.ts";
import { LIMITS } from "./types/limits.ts";
import type { AnswerHeaders } from "./node-request.ts";

/**
 * Returns an address without its trailing slash. Throws a TypeError for a string that is not an HTTP address, or that
 * contains a password, which `fetch` refuses.
 */
export function checkedUrl(url: string): string {
  if (/^https?:\/\/[^/?#]*@/.test(url))
    throw new TypeError(
      "The address of a node contains a user or a password. Omit them, and pass a token of the node as token.",
    );
  if (!/^https?:\/\//.test(url) || !URL.canParse(url))
    throw new TypeError(
      `${url.replace(/\/\/.*@/, "//")} is not the address of a node, such as http://10.0.0.7:3000.`,
    );
  return url.replace(/\/+$/, "");
}

/** How deep a document is in the transaction that contains it: in an operation, in the list of them. */
const DOCUMENT_DEPTH = 3;

/** As {@link requireJson}, for a transaction. */
export function requireJsonOps(transaction: Transaction<AnyOperation>): void {
  requireJson(transaction, LIMITS.jsonDepth + DOCUMENT_DEPTH);
}

/**
 * Throws `TX_INVALID` with the path of the first part of a value that JSON would change, or if the value is nested so
 * deeply that nodes would refuse it, because JSON.stringify fails for values that are nested much deeper.
 */
export function requireJson(value: unknown, maxDepth: number = LIMITS.jsonDepth): void {
  const problem = jsonProblem("the value", value, maxDepth);
  if (problem === undefined) return;
  throw new CairnClientError("TX_INVALID", `Nothing was submitted: ${problem.reason}.`, {
    hint: "Submit plain objects, lists, strings, numbers, true, false and null. Only members of objects may be undefined.",
    details: { path: problem.path },
  });
}

/** A transaction with an id is applied once, no matter how often and through which nodes it is sent. */
export function withId(transaction: Transaction<AnyOperation>): Transaction<AnyOperation> {
  return transaction.id === undefined ? { ...transaction, id: crypto.randomUUID() } : transaction;
}

export function bucketPath(bucket: string): string {
  return `/api/v1/${escapedName(bucket)}`;
}

export function queuePath(queue: string): string {
  return `/api/v1/queues/${escapedName(queue)}`;
}

/** Splits `namespace/name` at the first `/`. A name alone is in the namespace `default`. Neither part is checked. */
export function splitKey(key: string): { namespace: string; name: string } {
  if (typeof key !== "string")
    throw new CairnClientError("REQUEST_INVALID", `A key is text, not ${String(key)}.`, {
      hint: "Use a key of the form namespace/name.",
    });
  const slash = key.indexOf("/");
  return slash < 0
    ? { namespace: "default", name: key }
    : { namespace: key.slice(0, slash), name: key.slice(slash + 1) };
}

/** Returns a key with its namespace, for the parameter `key`. In a path, dot segments would be resolved in transit. */
export function qualified(key: string): string {
  const { namespace, name } = splitKey(key);
  return `${namespace}/${name}`;
}

export function pointText(point: PointInTime | undefined): string | number | undefined {
  if (point instanceof Date && Number.isNaN(point.getTime()))
    throw new CairnClientError("REQUEST_INVALID", "The time of the read is an invalid Date.", {
      hint: "Nothing was sent. Pass a valid Date, a time in ISO 8601, or the id of a transaction.",
    });
  return point instanceof Date ? point.toISOString() : point;
}

/** Returns the revision in a response's ETag, which is weak if the response was compressed in transit. */
export function revisionOf(headers: AnswerHeaders): number {
  return Number(/^(?:W\/)?"(\d+)"$/.exec(headers.get("etag") ?? "")?.[1]);
}

/** Returns the transaction and position as of which a page of a list is, and the cursor of the next page. */
export function pagePlace(answer: { readonly headers: AnswerHeaders }): Omit<ClientPage, "documents"> {
  const { headers } = answer;
  const position = headers.get("cairn-position") ?? "0";
  return { txId: Number(headers.get("cairn-tx")), position, next: nextCursor(answer) };
}

/** Returns the cursor in a response's link to the next page. */
export function nextCursor({ headers }: { readonly headers: AnswerHeaders }): string | undefined {
  const cursor = /[?&]cursor=([^&>]*)[^>]*>; rel="next"/.exec(headers.get("link") ?? "")?.[1];
  return cursor === undefined ? undefined : decodeURIComponent(cursor);
}
