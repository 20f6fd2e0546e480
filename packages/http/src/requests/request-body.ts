import type { IncomingMessage } from "node:http";
import { badBody, badRequest, bodyTooLarge, unsupported } from "../answers/request-error.ts";
import { TRANSACTION_SLICE } from "@cairn/kv";
import { parseJson } from "@cairn/text";

/** Generated clients send strings of text types unchanged, but some encode any type with "json" in its name as one value. */
const LINES = /^(?:application\/(?:x-ndjson|ndjson|jsonl|x-jsonlines|octet-stream)|text\/plain)$/i;
/** `curl -d` declares its body as a form, and many clients declare a string as text/plain. */
const JSON_TYPES = /^(?:application\/(?:json|x-www-form-urlencoded|[\w.-]+\+json)|text\/plain)$/i;

const UTF_8 = /^(?:utf-?8|(?:us-)?ascii)$/i;

/** Throws an error with status 415 unless a request declares its body as lines of JSON in UTF-8. */
export function requireLines({ headers }: IncomingMessage): void {
  if (!LINES.test(typeOf(headers["content-type"] ?? ""))) {
    throw unsupported(
      "A batch must be NDJSON, with one transaction per line.",
      "Send Content-Type: application/x-ndjson (curl --data-binary @FILE).",
    );
  }
  requireUnencoded(headers);
}

/** A shorter body takes a few milliseconds at most to parse and encode; one of 1 MiB takes up to half a second. */
const SHORT_BYTES = 8 * 1024;

export interface BodyOptions {
  readonly maxBytes: number;
  /** Called with the length of a body that is not short, before anything is done with it. */
  readonly begin: (bytes: number) => Promise<void>;
  /** As in {@link parseJson}. */
  readonly onText?: ((json: string) => void) | undefined;
}

/** Reads the body of a request as JSON; undefined if it is missing or blank. */
export async function readJsonBody(
  request: IncomingMessage,
  { maxBytes, begin, onText }: BodyOptions,
): Promise<unknown> {
  const { headers } = request;
  const type = headers["content-type"];
  const length = headers["content-length"];
  const hasBody = headers["transfer-encoding"] !== undefined || (length !== undefined && length !== "0");
  if (type === undefined && !hasBody) return undefined;
  if (type !== undefined && !JSON_TYPES.test(typeOf(type)))
    throw unsupported("A body must be JSON.", "Send Content-Type: application/json.");
  const bytes = await readAll(request, maxBytes);
  requireUnencoded(headers);
  if (bytes.length <= SHORT_BYTES) return parseJson(bytes, onText);
  await begin(bytes.length);
  await TRANSACTION_SLICE.turn();
  const body = parseJson(bytes, onText);
  // What a body contains is checked and encoded next, which takes about as long.
  await TRANSACTION_SLICE.turn();
  return body;
}

/** Throws unless a request has a whole document as its body. */
export function requireBody({ headers }: IncomingMessage, body: unknown): void {
  if (headers["content-range"] !== undefined) {
    throw badRequest(
      "Partial documents cannot be stored: the request has a Content-Range.",
      "Send the whole document without Content-Range.",
    );
  }
  if (body === undefined) throw badBody("The request has no body.", "Send a JSON body.");
}

function typeOf(contentType: string): string {
  return (contentType.split(";", 1)[0] ?? "").trim();
}

function requireUnencoded(headers: IncomingMessage["headers"]): void {
  const charset = /;\s*charset\s*=\s*"?([^\s";]*)/i.exec(headers["content-type"] ?? "")?.[1];
  if (charset !== undefined && !UTF_8.test(charset)) {
    throw unsupported(
      `Bodies must be UTF-8, not ${charset}.`,
      "Encode the body as UTF-8, and send Content-Type: application/json.",
    );
  }
  const encoding = headers["content-encoding"] ?? "";
  if (encoding !== "" && !/^identity$/i.test(encoding)) {
    throw unsupported(
      `Bodies must be sent unencoded, not with Content-Encoding: ${encoding}.`,
      "Send the body without Content-Encoding.",
      { "accept-encoding": "identity" },
    );
  }
}

/** Reads the body. It stays open if it is too large, so that the rest can be discarded. */
async function readAll(request: IncomingMessage, maxBytes: number): Promise<Buffer> {
  if (Number(request.headers["content-length"] ?? 0) > maxBytes) throw bodyTooLarge("The body", maxBytes);
  const chunks: Buffer[] = [];
  let bytes = 0;
  return await new Promise((resolve, reject) => {
    const end = (): void => resolve(Buffer.concat(chunks));
    const add = (chunk: Buffer): void => {
      chunks.push(chunk);
      bytes += chunk.length;
      if (bytes <= maxBytes) return;
      request.off("data", add).off("end", end);
      reject(bodyTooLarge("The body", maxBytes));
    };
    request.on("data", add).once("end", end).once("error", reject);
  });
}
