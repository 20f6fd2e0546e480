import { CairnError, isCairnError } from "@cairn/kv";
import { type TaggedText, contentTag, MAX_SMALL_FILE_BYTES, tooLarge } from "@cairn/checkpoint";
import { type S3Access, unexpectedResponse } from "./s3-access.ts";
import { BodyMismatch, dropBody, receiveBody } from "./s3-body.ts";
import { isMissing, type Refusal } from "./s3-errors.ts";
import { pauseBefore } from "./s3-pause.ts";
import { conditionTag, type S3Findings } from "./s3-probe.ts";

/** The tag is computed from the content, because some services return different ETags for the same content. */
export interface SmallFile extends TaggedText {
  readonly etag: string;
}

/** Reads a small file; undefined if it does not exist. Throws `CHECKPOINT_CORRUPT` if it is too large. */
export async function readSmall(access: S3Access, name: string): Promise<SmallFile | undefined> {
  const { location, maxAttempts, requestTimeout: idleMs } = access.settings;
  const Key = access.key(name);
  const doing = `reading ${name}`;
  // Only an interrupted body is requested again: requests are already retried.
  for (let attempt = 1; ; attempt++) {
    const answer = await access.call("getObject", { Key }, { doing, unless: isMissing });
    if (answer === null) return undefined;
    const { ContentLength: bytes = MAX_SMALL_FILE_BYTES, ETag: etag } = answer;
    if (bytes > MAX_SMALL_FILE_BYTES) {
      dropBody(answer.Body);
      throw tooLarge(name, bytes);
    }
    const chunks: Buffer[] = [];
    const received = { room: bytes, onChunk: (chunk: Buffer) => void chunks.push(chunk), filled: 0 };
    try {
      await receiveBody(answer.Body, received, { idleMs, signal: undefined });
      if (answer.ContentLength !== undefined && received.filled < bytes)
        throw unexpectedResponse(location, doing, `${received.filled} of ${bytes} bytes were received`);
      const content = Buffer.concat(chunks);
      return { text: content.toString("utf8"), tag: contentTag(content), etag };
    } catch (error) {
      if (error instanceof BodyMismatch) throw tooLarge(name, bytes + 1);
      const failure = access.explain(error, doing);
      if (!isCairnError(failure, "STORE_UNREACHABLE") || attempt >= maxAttempts) throw failure;
    }
    await pauseBefore(attempt - 1);
  }
}

/** Writes a small file under a condition, again after each conflicting write. Returns whether it was written. */
async function put(access: S3Access, name: string, text: string, condition: object): Promise<boolean> {
  const { location, maxAttempts, encryption } = access.settings;
  const Body = Buffer.from(text);
  const input = {
    Key: access.key(name),
    Body,
    ContentLength: Body.length,
    ContentType: "application/json",
    ...encryption,
    ...condition,
  };
  const isConditional = Object.keys(condition).length > 0;
  // 412: the condition fails. 404: no object for If-Match. 409: another conditional write is in progress (Amazon S3).
  const unless = (refusal: Refusal): Refusal | undefined => {
    const isExpected = [409, 412].includes(refusal.status) || isMissing(refusal) === null;
    return isConditional && isExpected ? refusal : undefined;
  };
  for (let attempt = 0; attempt < maxAttempts; attempt++) {
    const answer = await access.call("putObject", input, { doing: `writing ${name}`, unless });
    if (!("status" in answer)) return true;
    // An earlier attempt may have succeeded even though its response was lost.
    if (answer.status !== 409) return answer.attempts > 1 && (await readSmall(access, name))?.text === text;
    await pauseBefore(attempt);
  }
  const message = `${name} could not be written to ${location}: other processes kept writing it.`;
  throw new CairnError("STORE_UNREACHABLE", message, "Wait: the write is retried.");
}

/** Writes a small file unless it exists. If the service supports conditions, only one of several writers succeeds. */
export async function createSmall(
  access: S3Access,
  { creates }: S3Findings,
  name: string,
  text: string,
): Promise<boolean> {
  if (creates) return put(access, name, text, { IfNoneMatch: "*" });
  if ((await readSmall(access, name)) !== undefined) return false;
  return put(access, name, text, {});
}

/** Replaces a small file if it has this tag. If the service supports conditions, only one of many writers succeeds. */
export async function replaceSmall(
  access: S3Access,
  { ifMatch }: S3Findings,
  name: string,
  text: string,
  tag: string,
): Promise<{ tag: string } | false> {
  const current = await readSmall(access, name);
  if (current?.tag !== tag) return false;
  const condition = ifMatch === undefined ? {} : { IfMatch: conditionTag(current.etag, ifMatch) };
  if (!(await put(access, name, text, condition))) return false;
  return { tag: contentTag(Buffer.from(text)) };
}
