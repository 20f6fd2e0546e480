import type { FastifyInstance, FastifyRequest } from "fastify";
import { parseJson } from "./faithful-json.ts";
import {
  badBody,
  badRequest,
  linesExpected,
  unsupportedCharset,
  unsupportedEncoding,
  unsupportedMediaType,
} from "../answers/request-error.ts";

declare module "fastify" {
  interface FastifyContextConfig {
    /** Called before validation. An error that it throws is sent as the response. */
    onBody?: (json: string) => void;
  }
}

/** The media type of many JSON values, one per line. */
export const NDJSON = "application/x-ndjson";
const NDJSON_ALIASES = ["application/ndjson", "application/jsonl", "application/x-jsonlines"];
/** Generated clients send strings of these unchanged, but some encode any type with "json" in its name as one value. */
const TEXT_TYPES = ["text/plain", "application/octet-stream"];

/** The names of UTF-8 and of its subset. */
const UTF_8 = /^(?:utf-?8|(?:us-)?ascii)$/i;

/** Makes a server read bodies as JSON and reject unsupported media types. */
export function acceptBodies(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  // `curl -d` declares its body as a form, and many clients declare a string as text/plain.
  const types = ["application/json", "text/plain", "application/x-www-form-urlencoded"];
  app.addContentTypeParser(types, { parseAs: "buffer" }, json);
  app.addContentTypeParser(/^application\/[\w.-]+\+json(?:;|$)/, { parseAs: "buffer" }, json);
  app.addContentTypeParser("*", { parseAs: "buffer" }, (request, body: Buffer, done) => {
    if (request.headers["content-type"] === undefined) json(request, body, done);
    else done(unsupportedMediaType());
  });
}

/** Makes the routes of `app`, which is a part of a server, accept streams of JSON lines and reject other types. */
export function acceptLines(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser([NDJSON, ...NDJSON_ALIASES, ...TEXT_TYPES], (request, payload, done) =>
    done(encodingProblem(request), payload),
  );
  app.addContentTypeParser("*", (_request, _body, done) => done(linesExpected()));
}

function encodingProblem({ headers }: FastifyRequest): Error | null {
  const charset = /;\s*charset\s*=\s*"?([^\s";]*)/i.exec(headers["content-type"] ?? "")?.[1];
  if (charset !== undefined && !UTF_8.test(charset)) return unsupportedCharset(charset);
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

export function jsonBody(request: FastifyRequest): unknown {
  if (request.headers["content-range"] !== undefined) {
    throw badRequest(
      "Partial documents cannot be stored: the request has a Content-Range.",
      "Send the whole document without Content-Range.",
    );
  }
  if (request.body === undefined) throw badBody("The request has no body.", "Send a JSON body.");
  return request.body;
}
