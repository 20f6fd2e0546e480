import { pipeline, Readable, type Transform } from "node:stream";
import { brotliCompress, constants, createBrotliCompress, createGzip, gzip } from "node:zlib";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { accepted } from "./accepted.ts";
import { JSON_TYPE } from "./json-answer.ts";
import { varyBy } from "./vary.ts";

/** Bodies of so many characters are worth it. */
export const COMPRESSED_FROM = 4_096;
/** What an answer of that size varies by. */
export const VARY_CODING = "accept-encoding";

/** At once: they use the threads that LevelDB reads with. Whoever comes meanwhile is answered without. */
const MOST_AT_ONCE = 2;
/** About as fast as gzip, and smaller. */
const BROTLI = { params: { [constants.BROTLI_PARAM_QUALITY]: 4 } };

type Coding = "gzip" | "br";
type Compressed = (error: Error | null, body: Buffer) => void;

/** In the order in which they are preferred where a request does not care. */
const CODINGS: Readonly<
  Record<Coding, { whole: (body: string, done: Compressed) => void; parts: () => Transform }>
> = {
  gzip: { whole: (body, done) => gzip(body, done), parts: () => createGzip() },
  br: {
    whole: (body, done) => brotliCompress(body, BROTLI, done),
    parts: () => createBrotliCompress(BROTLI),
  },
};

/** The coding that an Accept-Encoding asks for, of those that there are; undefined: as it is. */
export function codingFor(acceptEncoding: string | undefined): Coding | undefined {
  if (acceptEncoding === undefined) return undefined;
  const given = accepted(acceptEncoding);
  const weight = (coding: string): number | undefined => given.find(({ name }) => name === coding)?.q;
  const others = weight("*") ?? 0;
  const plain = weight("identity") ?? 0;
  let best: { coding: Coding; q: number } | undefined;
  for (const coding of Object.keys(CODINGS) as Coding[]) {
    const q = weight(coding) ?? (coding === "gzip" ? weight("x-gzip") : undefined) ?? others;
    if (q > 0 && q >= plain && (best === undefined || q > best.q)) best = { coding, q };
  }
  return best?.coding;
}

/**
 * Says in an answer what depends on its coding, given the length of its body: that it does, and a tag that stands for the document in any
 * coding (RFC 9110, 8.8.1: a strong one would stand for the same bytes). Answers the coding that is asked for.
 */
export function describeCoding(
  request: FastifyRequest,
  reply: FastifyReply,
  length: number,
): Coding | undefined {
  if (length < COMPRESSED_FROM) return undefined;
  varyBy(reply, VARY_CODING);
  const coding = codingFor(request.headers["accept-encoding"]);
  const tag = reply.getHeader("etag");
  if (coding !== undefined && typeof tag === "string") void reply.header("etag", `W/${tag}`);
  return coding;
}

/** Compresses what is larger for requests that ask for it. Event streams are sent as they are: each event has to leave at once. */
export function compressOnRequest(app: FastifyInstance): void {
  let underWay = 0;
  app.addHook<unknown>("onSend", (request, reply, payload, done) => {
    if (!isWorthIt(reply, payload)) return done(null, payload);
    const length = typeof payload === "string" ? payload.length : COMPRESSED_FROM;
    const coding = describeCoding(request, reply, length);
    if (coding === undefined) return done(null, payload);
    const isHead = request.method === "HEAD";
    if (!isHead && underWay >= MOST_AT_ONCE) return done(null, payload);
    void reply.header("content-encoding", coding);
    // How long it would be nobody knows without compressing it.
    if (isHead) return done(null, Readable.from([]));
    underWay += 1;
    const { whole, parts } = CODINGS[coding];
    const ended = (): void => {
      underWay -= 1;
    };
    if (typeof payload === "string") {
      whole(payload, (error, body) => {
        ended();
        if (error === null) return done(null, body);
        void reply.removeHeader("content-encoding");
        done(error);
      });
    } else done(null, pipeline(payload, parts(), ended));
  });
}

const TYPES = new Set([JSON_TYPE, "text/plain; version=0.0.4; charset=utf-8"]);

function isWorthIt(reply: FastifyReply, payload: unknown): payload is string | Readable {
  if (!TYPES.has(String(reply.getHeader("content-type")))) return false;
  return typeof payload === "string" ? payload.length >= COMPRESSED_FROM : payload instanceof Readable;
}
