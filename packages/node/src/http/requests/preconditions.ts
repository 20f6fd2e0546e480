import type { IncomingHttpHeaders } from "node:http";
import type { Revision } from "@cairn/client";
import { badRequest, RequestError } from "../answers/error-response.ts";
import { isSafeMethod } from "./methods.ts";

/** A list of revisions, or any at all (`*`). */
type Tags = "any" | readonly Revision[];

/** If-Match and If-None-Match of a request, understood; undefined where a header was not sent. */
export interface Preconditions {
  readonly match?: Tags;
  readonly noneMatch?: Tags;
}

/** The ETag of a revision. */
export function etag(revision: Revision): string {
  return `"${revision}"`;
}

/** Reads both headers; undefined when the request has neither. */
export function parsePreconditions(headers: IncomingHttpHeaders): Preconditions | undefined {
  const match = headers["if-match"];
  const noneMatch = headers["if-none-match"];
  if (match === undefined && noneMatch === undefined) return undefined;
  return {
    ...(match === undefined ? {} : { match: parseTags(match) }),
    ...(noneMatch === undefined ? {} : { noneMatch: parseTags(noneMatch) }),
  };
}

/**
 * Why a request's preconditions cannot be kept; undefined where they are, or where there is none. `isKept`: whether what answers looks
 * at If-Match and If-None-Match. To a read that does not, If-None-Match is no condition, only a cache's question.
 */
export function preconditionProblem(
  headers: IncomingHttpHeaders,
  method: string,
  isKept: boolean,
): RequestError | undefined {
  if (headers["if-unmodified-since"] !== undefined) return unkept("If-Unmodified-Since");
  const isRead = isSafeMethod(method);
  if (!isRead && headers["if-modified-since"] !== undefined) return unkept("If-Modified-Since");
  if (isKept) return undefined;
  if (headers["if-match"] !== undefined) return unkept("If-Match");
  return !isRead && headers["if-none-match"] !== undefined ? unkept("If-None-Match") : undefined;
}

function unkept(header: string): RequestError {
  return badRequest(
    `The precondition ${header} cannot be kept here.`,
    "If-Match and If-None-Match go with a document and with the policies; in a transaction, a match operation compares.",
  );
}

/** Weak tags count as well, since proxies that compress weaken them; one that is no revision matches nothing. */
function parseTags(header: string): Tags {
  if (header.trim() === "*") return "any";
  return header.split(",").flatMap((tag) => {
    const digits = /^\s*(?:W\/)?"?(\d{1,16})"?\s*$/.exec(tag)?.[1];
    return digits === undefined ? [] : [Number(digits)];
  });
}

function includes(tags: Tags, revision: Revision | undefined): boolean {
  return revision !== undefined && (tags === "any" || tags.includes(revision));
}

/** What a read with preconditions answers, If-Match first (RFC 9110, 13.2.2); `revision` undefined: there is no document. */
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
 * The revision that a conditional write has to find (null: nothing), to be compared in the transaction itself. One revision, and
 * "absent", need no look at what is there; the others are decided on what is there now, and then hold only if it is still there when the
 * transaction takes effect. `told` says in the error what is at a revision.
 */
export async function expectedRevision(
  preconditions: Preconditions,
  current: () => Promise<Revision | undefined>,
  told: (revision: Revision | undefined) => RequestError = conflict,
): Promise<Revision | null> {
  const { match, noneMatch } = preconditions;
  if (noneMatch === "any" && match === undefined) return null;
  const only = match !== "any" && match?.length === 1 && noneMatch === undefined ? match[0] : undefined;
  if (only !== undefined && only > 0) return only;
  const revision = await current();
  if (readDecision(preconditions, revision) !== "send") throw told(revision);
  return revision ?? null;
}

/** 412: the precondition was lost. */
export function conflict(revision: Revision | undefined): RequestError {
  return lost(
    `The precondition does not hold: the document is ${revision === undefined ? "absent" : `at revision ${revision}`}.`,
  );
}

/** 412 for a write that was aborted; `reason` is the outcome's, a code and then words. */
export function lostBecause(reason: string | undefined, hint?: string): RequestError {
  const words = reason?.replace(/^[A-Z_]+: /, "") ?? "the document was changed meanwhile";
  return lost(`The precondition does not hold: ${words.replace(/\.$/, "")}.`, hint);
}

function lost(message: string, hint = "Read the document again and decide anew."): RequestError {
  return new RequestError("CONFLICT", message, { status: 412, hint });
}
