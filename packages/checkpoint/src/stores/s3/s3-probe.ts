import { randomBytes } from "node:crypto";
import { CairnError, isCairnError } from "@cairn/kv";
import type { StoreFindings } from "../../store/checkpoint-store.ts";
import type { S3Access } from "./s3-access.ts";
import { dropBody } from "./s3-body.ts";
import { listsObject } from "./s3-list.ts";
import type { S3Settings } from "./s3-options.ts";

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
const OTHER_ETAG = "0123456789abcdef0123456789abcdef";

/** The time limit for probing. */
const PROBE_TIMEOUT_MS = 60_000;

/** Formats an ETag for a condition, in the given notation. */
export function conditionTag(etag: string, style: EtagStyle): string {
  const bare = etag.replaceAll('"', "");
  return style === "bare" ? bare : `"${bare}"`;
}

/**
 * Detects what the service and the credentials support, with about a dozen small requests. Leaves nothing behind or, if
 * objects may not be removed, always the same single object. Throws `STORE_DENIED` if the service does not list that
 * object.
 */
export async function probe(access: S3Access): Promise<S3Findings> {
  const signal = AbortSignal.timeout(PROBE_TIMEOUT_MS);
  const { bucket, prefix, checksums, encryption } = access.settings;
  const at = { Bucket: bucket };
  const doing = "finding out what it supports";

  const remove = (key: string): Promise<boolean> =>
    access.call((s3, options) => s3.deleteObject({ ...at, Key: key }, options).then(() => true), {
      doing,
      permission: "s3:DeleteObject",
      signal,
      unless: ({ status }) =>
        status === 403 || status === 405 || status === 501 ? false : status === 404 || undefined,
    });
  const own = `${prefix}${PROBE_PREFIX}${randomBytes(8).toString("hex")}`;
  // The name is one that does not exist, so that nothing is left behind if objects may not be removed.
  const canDelete = await remove(own);
  const Key = canDelete ? own : `${prefix}${PROBE_PREFIX}kept`;
  let attempt = 0;
  /** Writes the object. Returns its ETag, or the status of a refusal if `refusals` contains it. */
  const put = (condition: object, refusals: readonly number[]): Promise<string | number> =>
    access.call<string, number>(
      async (s3, options) => {
        attempt += 1;
        const Body = Buffer.from(`A Cairn test file, round ${attempt}, ${own}; it may be removed.\n`);
        const { ETag } = await s3.putObject(
          { ...at, ...encryption, Key, Body, ContentLength: Body.length, ...condition },
          options,
        );
        return ETag ?? "";
      },
      {
        doing,
        permission: "s3:PutObject",
        signal,
        unless: ({ status }) => (refusals.includes(status) ? status : undefined),
      },
    );

  try {
    const ifNone = { IfNoneMatch: "*" };
    const first = await put(ifNone, NOT_HONOURED);
    const again = await put(ifNone, NOT_HONOURED);
    // A service that refuses even the first write does not evaluate the condition, unless the object remained from an
    // earlier probe because it cannot be removed.
    const creates = again === 412 && (typeof first === "string" || (first === 412 && !canDelete));
    // If both writes were refused, the object that the request for a range needs may not exist yet.
    const unwritten = typeof first === "number" && typeof again === "number";
    const plain = creates || unwritten ? await put({}, []) : "";
    let etag: string | number = creates ? plain : "";
    let ifMatch: EtagStyle | undefined;
    for (const style of ["quoted", "bare"] as const) {
      if (typeof etag !== "string" || etag === "" || ifMatch !== undefined) break;
      const right = await put({ IfMatch: conditionTag(etag, style) }, NOT_HONOURED);
      if (typeof right !== "string") continue;
      const wrong = await put({ IfMatch: conditionTag(OTHER_ETAG, style) }, NOT_HONOURED);
      if (wrong === 412) ifMatch = style;
      etag = wrong;
    }
    if (!(await listsObject(access, Key, signal))) throw unlisted(access.settings);
    const ranges = await knowsRanges(access, Key, signal);
    return { exclusive: creates && ifMatch !== undefined, creates, ifMatch, canDelete, ranges, checksums };
  } finally {
    if (canDelete) await bestEffort(() => remove(Key));
  }
}

/** Returns the error for a store in which checkpoints would be saved but never found. */
function unlisted({ location }: S3Settings): CairnError {
  return new CairnError(
    "STORE_DENIED",
    `The checkpoint store ${location} does not list an object that was just written, so checkpoints in it would not be found.`,
    {
      hint: "Give the store another `prefix` that consists of letters, digits, dashes and slashes. If that does not help, use another service. Nothing was saved.",
    },
  );
}

async function knowsRanges(access: S3Access, Key: string, signal: AbortSignal): Promise<boolean> {
  return access.call(
    async (s3, options) => {
      const answer = await s3.getObject({ Bucket: access.settings.bucket, Key, Range: "bytes=2-5" }, options);
      dropBody(answer.Body);
      return answer.ContentRange?.startsWith("bytes 2-5/") === true && answer.ContentLength === 4;
    },
    {
      doing: "finding out what it supports",
      permission: "s3:GetObject",
      signal,
      unless: ({ status }) => (status === 404 || status === 501 ? false : undefined),
    },
  );
}

/** Runs `work`, which cleans up, and ignores errors of the store. */
async function bestEffort(work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!isCairnError(error)) throw error;
  }
}
