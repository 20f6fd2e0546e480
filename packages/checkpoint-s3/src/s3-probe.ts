import { randomBytes } from "node:crypto";
import { CairnError, unlessFailed } from "@cairn/kv";
import type { StoreFindings } from "@cairn/checkpoint";
import { type S3Access, unexpectedResponse } from "./s3-access.ts";
import { dropBody } from "./s3-body.ts";
import type { Refusal } from "./s3-errors.ts";
import { listsObject } from "./s3-list.ts";

/** The notation of an ETag in a condition. Some services compare it with quotes, others without. */
export type EtagStyle = "quoted" | "bare";

export interface S3Findings extends StoreFindings {
  /** Whether the service can write an object only if it does not exist. */
  readonly creates: boolean;
  /** The notation for conditional replacement; undefined if that does not work. */
  readonly ifMatch: EtagStyle | undefined;
}

/** The prefix of probe objects. They are never listed, because names in stores do not begin with a dot. */
const PROBE_PREFIX = ".probe-";

/** Statuses of refused conditional writes: 412 if the condition is not met, any other if it is not supported. */
const NOT_HONOURED = [400, 404, 405, 409, 412, 501];
/** Statuses for a condition that is not met, or not met while another conditional write is in progress (Amazon S3). */
const UNMET: readonly (string | number)[] = [409, 412];
const NOT_PERMITTED = [403, 405, 501];
const OTHER_ETAG = "0123456789abcdef0123456789abcdef";

export function conditionTag(etag: string, style: EtagStyle): string {
  const bare = etag.replaceAll('"', "");
  return style === "bare" ? bare : `"${bare}"`;
}

/**
 * Detects what service and credentials support, with about a dozen small requests. Leaves at most one object, always
 * the same, and only if it may not be removed. Throws `STORE_DENIED` if that is not listed, and `STORE_UNREACHABLE` if
 * no part of it can be read.
 */
export async function probe(access: S3Access, tries = access.settings.maxAttempts): Promise<S3Findings> {
  const { prefix, checksums, encryption } = access.settings;
  const doing = "finding out what it supports";

  const remove = async (Key: string): Promise<boolean> => {
    const call = {
      doing,
      unless: ({ status }: Refusal) =>
        status === 404 ? true : NOT_PERMITTED.includes(status) ? false : undefined,
    };
    return (await access.call("deleteObject", { Key }, call)) !== false;
  };
  const own = `${prefix}${PROBE_PREFIX}${randomBytes(8).toString("hex")}`;
  // The name is one that does not exist, so that nothing is left behind if objects may not be removed.
  const canDelete = await remove(own);
  const Key = canDelete ? own : `${prefix}${PROBE_PREFIX}kept`;
  let attempt = 0;
  /** Writes the object. Returns its ETag, or the status of a refusal if `refusals` contains it. */
  const put = async (condition: object, refusals: readonly number[]): Promise<string | number> => {
    attempt += 1;
    const Body = Buffer.from(`A Cairn test file, round ${attempt}, ${own}; it may be removed.\n`);
    const input = { ...encryption, Key, Body, ContentLength: Body.length, ...condition };
    const unless = ({ status }: Refusal): number | undefined =>
      refusals.includes(status) ? status : undefined;
    const answer = await access.call("putObject", input, { doing, unless });
    return typeof answer === "number" ? answer : answer.ETag;
  };

  try {
    const ifNone = { IfNoneMatch: "*" };
    const first = await put(ifNone, NOT_HONOURED);
    const again = await put(ifNone, NOT_HONOURED);
    // A service that refuses even the first write does not evaluate the condition, unless the object remained from an
    // earlier probe because it cannot be removed.
    const creates = again === 412 && (typeof first === "string" || (first === 412 && !canDelete));
    let isDoubtful = canDelete && UNMET.includes(first);
    // Without conditions, the object may not exist yet, and the listing needs it.
    let etag: string | number = await put({}, []);
    let ifMatch: EtagStyle | undefined;
    for (const style of ["quoted", "bare"] as const) {
      if (!creates || typeof etag !== "string" || ifMatch !== undefined) break;
      const right = await put({ IfMatch: conditionTag(etag, style) }, NOT_HONOURED);
      isDoubtful ||= UNMET.includes(right);
      if (typeof right !== "string") continue;
      const wrong = await put({ IfMatch: conditionTag(OTHER_ETAG, style) }, NOT_HONOURED);
      if (wrong === 412) ifMatch = style;
      etag = wrong;
    }
    const exclusive = creates && ifMatch !== undefined;
    // The condition was met, unless a first attempt succeeded whose response was lost. That shows nothing.
    if (isDoubtful && !exclusive && tries > 1) return await probe(access, tries - 1);
    if (!(await listsObject(access, Key))) {
      // Checkpoints would be saved but never found.
      throw new CairnError(
        "STORE_DENIED",
        `The checkpoint store ${access.settings.location} does not list an object that was just written, so checkpoints in it would not be found.`,
        "Give the store another `prefix` that consists of letters, digits, dashes and slashes. If that does not help, use another service. Nothing was saved.",
      );
    }
    // Without ranges, checkpoints would be saved but could not be restored.
    const part = await access.call("getObject", { Key, Range: "bytes=2-5" }, { doing });
    dropBody(part.Body);
    if (part.ContentRange?.startsWith("bytes 2-5/") !== true)
      throw unexpectedResponse(access.settings.location, doing, "it returns no ranges, which are required");
    return { exclusive, creates, ifMatch, canDelete, checksums };
  } finally {
    if (canDelete) await unlessFailed(remove(Key), "any", false);
  }
}
