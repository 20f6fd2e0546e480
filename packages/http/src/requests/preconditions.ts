import type { IncomingHttpHeaders, IncomingMessage } from "node:http";
import type { Revision } from "@cairn/client";
import { isLost, reasonWords } from "@cairn/client/protocol";
import { badRequest, RequestError } from "../answers/request-error.ts";
import { isSafeMethod } from "./request-head.ts";

type Tags = "any" | readonly Revision[];

export interface Preconditions {
  readonly match?: Tags;
  readonly noneMatch?: Tags;
}

export function etag(revision: Revision): string {
  return `"${revision}"`;
}

/** Parses both headers; undefined if the request has neither. Throws `REQUEST_INVALID`. */
export function parsePreconditions(headers: IncomingHttpHeaders): Preconditions | undefined {
  const match = headers["if-match"];
  const noneMatch = headers["if-none-match"];
  if (match === undefined && noneMatch === undefined) return undefined;
  return {
    ...(match === undefined ? {} : { match: parseTags("If-Match", match) }),
    ...(noneMatch === undefined ? {} : { noneMatch: parseTags("If-None-Match", noneMatch) }),
  };
}

/**
 * Returns the error for a precondition that the route would ignore. A read may have If-None-Match even if it is not
 * evaluated: a cache is then only sent a body that it already has.
 */
export function preconditionProblem(
  headers: IncomingHttpHeaders,
  method: string,
  isEvaluated: boolean,
): RequestError | undefined {
  if (headers["if-unmodified-since"] !== undefined) return unkept("If-Unmodified-Since");
  const isRead = isSafeMethod(method);
  if (!isRead && headers["if-modified-since"] !== undefined) return unkept("If-Modified-Since");
  if (isEvaluated) return undefined;
  if (headers["if-match"] !== undefined) return unkept("If-Match");
  return !isRead && headers["if-none-match"] !== undefined ? unkept("If-None-Match") : undefined;
}

function unkept(header: string): RequestError {
  return badRequest(
    `The precondition ${header} is not supported here.`,
    "Use If-Match and If-None-Match only for documents and policies. In a transaction, use a match operation.",
  );
}

/** An entity tag (RFC 9110, 8.8.3), or a revision without quotes, and the blanks behind it. */
const TAG = String.raw`((W/)?"[\x21\x23-\x7e\x80-\xff]*"|[0-9]{1,16})[ \t]*`;
/**
 * The form of both headers: `*`, or a list of at least one tag, in which others may be missing (RFC 9110, 5.6.1). It is also
 * a pattern of JSON Schema. Each blank has only one place in it: otherwise, a long header could take years to be refused.
 */
export const TAGS_PATTERN = String.raw`^[ \t]*(\*[ \t]*|(,[ \t]*)*${TAG}(,[ \t]*(${TAG})?)*)$`;
const TAGS = new RegExp(TAGS_PATTERN);
/** The preconditions of writes, as a transaction can require only one revision. They are also patterns of JSON Schema. */
export const REVISION_PATTERN = String.raw`^[ \t]*((W/)?"[1-9][0-9]{0,14}"|[1-9][0-9]{0,14})[ \t]*$`;
export const ABSENT_PATTERN = String.raw`^[ \t]*\*[ \t]*$`;
const REVISION = new RegExp(REVISION_PATTERN);
const EACH_TAG = /"([^"]*)"|\d+/g;

/**
 * Parses the tags of a header. Weak tags count as strong, because compressing proxies weaken them. A tag that is not a
 * revision matches nothing, but an unreadable list is an error, never a fulfilled precondition.
 */
function parseTags(name: string, header: string): Tags {
  const text = header.trim();
  if (text === "*") return "any";
  if (!TAGS.test(text)) {
    throw badRequest(
      `The header ${name} is neither * nor a list of tags.`,
      'Write * or revisions in quotes, such as "7", "9".',
    );
  }
  const tags = [...text.matchAll(EACH_TAG)].map(([bare, quoted = bare]) => quoted);
  return tags.flatMap((tag) => (/^\d{1,16}$/.test(tag) ? [Number(tag)] : []));
}

function includes(tags: Tags, revision: Revision | undefined): boolean {
  return revision !== undefined && (tags === "any" || tags.includes(revision));
}

/** If-Match is evaluated first (RFC 9110, 13.2.2); `revision` is undefined if there is no document. */
export function readDecision(
  preconditions: Preconditions,
  revision: Revision | undefined,
): "send" | "unchanged" | "conflict" {
  const { match, noneMatch } = preconditions;
  if (match !== undefined && !includes(match, revision)) return "conflict";
  if (noneMatch !== undefined && includes(noneMatch, revision)) return "unchanged";
  return "send";
}

/**
 * Returns the revision that a write requires (null: nothing may exist); undefined if it has no precondition. A transaction
 * can require only one, so any other precondition is refused. Throws `REQUEST_INVALID`.
 */
export function requiredRevision({ headers, rawTrailers }: IncomingMessage): Revision | null | undefined {
  // If one in a trailer were ignored, it would not be kept.
  if (rawTrailers.some((name) => /^if-(none-)?match$/i.test(name)))
    throw badRequest("A precondition was sent after the body.", "Send it before the body, as a header.");
  const { match, noneMatch } = parsePreconditions(headers) ?? {};
  if (match === undefined && noneMatch === undefined) return undefined;
  if (match === undefined && noneMatch === "any") return null;
  if (match !== "any" && noneMatch === undefined && REVISION.test(headers["if-match"] ?? ""))
    return match?.[0];
  throw badRequest(
    "A write can require one revision, or that nothing exists: no other precondition is supported.",
    'Write If-Match with the revision that you read, such as "7", or If-None-Match: *.',
  );
}

export function conflict(revision: Revision | undefined): RequestError {
  return lostBecause(`the document is ${revision === undefined ? "absent" : `at revision ${revision}`}`);
}

const READ_AGAIN = "Read the document again and decide whether to write it.";
const OF_QUEUE =
  "The bucket is a queue, whose rules refuse this write. Enqueue new entries (cairn queue enqueue, POST /api/v1/queues/{queue}/entries), and write others with the epoch of their shard. cairn queue show prints the shards.";

/** Returns the error for an aborted write: 412 for a precondition, 409 for a rule. `reason` is the outcome's. */
export function lostBecause(
  reason = "the document is not the expected one",
  hint = isLost(reason) ? READ_AGAIN : OF_QUEUE,
): RequestError {
  const words = reasonWords(reason);
  return isLost(reason)
    ? new RequestError("CONFLICT", `The precondition does not hold: ${words}.`, { status: 412, hint })
    : new RequestError("CONFLICT", `Nothing was changed: ${words}.`, { hint });
}
