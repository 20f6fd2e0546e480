import { isUtf8 } from "node:buffer";
import type { FastifyInstance, FastifyRequest } from "fastify";
import { refuseUnfaithful } from "./faithful-json.ts";
import {
  badBody,
  badRequest,
  linesExpected,
  unsupportedEncoding,
  unsupportedMediaType,
} from "../answers/error-response.ts";

declare module "fastify" {
  interface FastifyContextConfig {
    /** Sees the text of a body that is JSON before the route does: what it throws is the answer. */
    onBody?: (json: string) => void;
  }
}

/** The media type of many JSON values, one a line. */
export const NDJSON = "application/x-ndjson";
/** What else it is called. */
const ALSO_NDJSON = ["application/ndjson", "application/jsonl", "application/x-jsonlines"];
/** What generated clients call text that they send as it is: of what says "json" some make one JSON value. */
const PLAIN = ["text/plain", "application/octet-stream"];

/** Sets how bodies are read: JSON whole, nothing else. */
export function acceptBodies(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  // `curl -d` says that it sends a form, and text/plain is what many clients say of a string.
  const types = ["application/json", "text/plain", "application/x-www-form-urlencoded"];
  app.addContentTypeParser(types, { parseAs: "buffer" }, json);
  app.addContentTypeParser(/^application\/[\w.-]+\+json(?:;|$)/, { parseAs: "buffer" }, json);
  app.addContentTypeParser("*", { parseAs: "buffer" }, (request, body: Buffer, done) => {
    if (request.headers["content-type"] === undefined) json(request, body, done);
    else done(unsupportedMediaType());
  });
}

/** Has the routes of `app`, a part of a server, take lines of JSON as a stream, nothing else. */
export function acceptLines(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser([NDJSON, ...ALSO_NDJSON, ...PLAIN], (request, payload, done) =>
    done(encodingProblem(request), payload),
  );
  app.addContentTypeParser("*", (_request, _body, done) => done(linesExpected()));
}

function encodingProblem({ headers }: FastifyRequest): Error | null {
  const encoding = headers["content-encoding"] ?? "";
  return encoding === "" || /^identity$/i.test(encoding) ? null : unsupportedEncoding(encoding);
}

function json(request: FastifyRequest, body: Buffer, done: Parsed): void {
  const problem = encodingProblem(request);
  if (problem !== null) return done(problem);
  try {
    done(null, parseJson(body, request.routeOptions.config.onBody));
  } catch (error) {
    done(error as Error);
  }
}

type Parsed = (error: Error | null, body?: unknown) => void;

/** The JSON value of a request's body. */
export function jsonBody(request: FastifyRequest): unknown {
  if (request.headers["content-range"] !== undefined) {
    throw badRequest("A part cannot be stored: the request has a Content-Range.", "Send the whole body.");
  }
  if (request.body === undefined) throw badBody("The request has no body.", "Send JSON.");
  return request.body;
}

/**
 * Parses JSON with nothing taken away: `__proto__` is a key like any other. Undefined when there is nothing but white space.
 * What the value would not hold as it was sent is refused: bytes that are not UTF-8, numbers that would change, one name twice in an object.
 * `onText` sees the text before that, and may refuse it in other words.
 */
export function parseJson(bytes: Buffer, onText?: (json: string) => void): unknown {
  if (!isUtf8(bytes)) throw badBody("The body is not valid UTF-8.");
  const text = bytes.toString("utf8", hasByteOrderMark(bytes) ? 3 : 0);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    if (text.trim() === "") return undefined;
    throw badBody(`The body is not valid JSON: ${(error as Error).message}.`);
  }
  onText?.(text);
  refuseUnfaithful(text, value);
  return value;
}

function hasByteOrderMark(bytes: Buffer): boolean {
  return bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf;
}
