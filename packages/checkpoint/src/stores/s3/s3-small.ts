import { CairnError, isCairnError } from "@cairn/kv";
import type { TaggedText } from "../../store/checkpoint-store.ts";
import { contentTag, SMALL_FILE_LIMIT, tooLarge } from "../../store/stored-files.ts";
import { type S3Access, strangeAnswer } from "./s3-access.ts";
import { BodyMismatch, dropBody, emptyFilling, fillFrom } from "./s3-body.ts";
import { pauseBefore } from "./s3-pause.ts";
import { conditionTag, type S3Findings } from "./s3-probe.ts";

/** A small file with the ETag that conditions compare. Our own tag is of the content: not every service has the same ETag in every answer. */
export interface SmallFile extends TaggedText {
  readonly etag: string;
}

/** A small file whole; undefined when it is not there. */
export async function readSmall(access: S3Access, name: string): Promise<SmallFile | undefined> {
  const { bucket, location, maxAttempts, requestTimeout: idleMs } = access.settings;
  const Key = access.key(name);
  const doing = `reading ${name}`;
  for (let attempt = 0; ; attempt++) {
    const answer = await access.call((s3, options) => s3.getObject({ Bucket: bucket, Key }, options), {
      doing,
      permission: "s3:GetObject",
      unless: ({ status, word }) => (status === 404 && word !== "NoSuchBucket" ? null : undefined),
    });
    if (answer === null) return undefined;
    const { ContentLength: bytes = SMALL_FILE_LIMIT, ETag: etag = "" } = answer;
    if (bytes > SMALL_FILE_LIMIT) {
      dropBody(answer.Body);
      throw tooLarge(name, bytes);
    }
    const filling = emptyFilling(bytes);
    try {
      await fillFrom(answer.Body, filling, { idleMs, signal: undefined });
      if (answer.ContentLength !== undefined && filling.filled < bytes)
        throw strangeAnswer(location, doing, `${filling.filled} of ${bytes} bytes came`);
      const content = Buffer.concat(filling.chunks);
      return { text: content.toString("utf8"), tag: contentTag(content), etag };
    } catch (error) {
      if (error instanceof BodyMismatch) throw tooLarge(name, SMALL_FILE_LIMIT + 1);
      const failure = access.explain(error, doing);
      if (!isCairnError(failure, "STORE_UNREACHABLE") || attempt + 1 >= maxAttempts) throw failure;
      await pauseBefore(attempt);
    }
  }
}

type Outcome = { readonly written: boolean; readonly attempts: number } | "conflict";

/** Writes a small file on a condition; whether it was met, and how often it was tried. */
async function put(access: S3Access, name: string, text: string, condition: object): Promise<Outcome> {
  const Body = Buffer.from(text);
  const { bucket, encryption } = access.settings;
  const isConditional = Object.keys(condition).length > 0;
  return access.call<Outcome, Outcome>(
    async (s3, options) => {
      const { $metadata } = await s3.putObject(
        {
          Bucket: bucket,
          Key: access.key(name),
          Body,
          ContentLength: Body.length,
          ContentType: "application/json",
          ...encryption,
          ...condition,
        },
        options,
      );
      return { written: true, attempts: $metadata.attempts ?? 1 };
    },
    {
      doing: `writing ${name}`,
      permission: "s3:PutObject",
      unless({ status, word, attempts }) {
        if (!isConditional) return undefined;
        // 412: the condition is not met. 404: what If-Match names is gone. 409: another conditional writing is under way (Amazon S3).
        if (status === 412 || (status === 404 && word !== "NoSuchBucket"))
          return { written: false, attempts };
        return status === 409 ? "conflict" : undefined;
      },
    },
  );
}

/** As `put`; "not now, somebody else is writing" is answered by trying again. */
async function putInTurn(access: S3Access, name: string, text: string, condition: object): Promise<boolean> {
  for (let attempt = 0; attempt < access.settings.maxAttempts; attempt++) {
    const outcome = await put(access, name, text, condition);
    if (outcome !== "conflict") {
      if (outcome.written) return true;
      // Of a repeated request an earlier one may have been obeyed, and its answer lost.
      return outcome.attempts > 1 && (await readSmall(access, name))?.text === text;
    }
    await pauseBefore(attempt);
  }
  throw new CairnError(
    "STORE_UNREACHABLE",
    `${access.settings.location} let nobody write ${name}: others kept writing it.`,
    {
      hint: "It is tried again.",
    },
  );
}

/** Writes a small file if there is none; of racers one wins where the service compares. */
export async function createSmall(
  access: S3Access,
  { creates }: S3Findings,
  name: string,
  text: string,
): Promise<boolean> {
  if (creates) return putInTurn(access, name, text, { IfNoneMatch: "*" });
  if ((await readSmall(access, name)) !== undefined) return false;
  return putInTurn(access, name, text, {});
}

/** Overwrites a small file that still has this tag; of racers one wins where the service compares. */
export async function replaceSmall(
  access: S3Access,
  { ifMatch }: S3Findings,
  name: string,
  text: string,
  tag: string,
): Promise<{ tag: string } | false> {
  const current = await readSmall(access, name);
  if (current?.tag !== tag) return false;
  const condition =
    ifMatch === undefined || current.etag === "" ? {} : { IfMatch: conditionTag(current.etag, ifMatch) };
  if (!(await putInTurn(access, name, text, condition))) return false;
  return { tag: contentTag(Buffer.from(text)) };
}
