import { pipeline, Readable, type Transform } from "node:stream";
import { brotliCompress, constants, createBrotliCompress, createGzip, gzip } from "node:zlib";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { accepted, varyBy } from "./negotiation.ts";

/** The minimum length of a body that is worth compressing. */
export const MIN_COMPRESSED_CHARACTERS = 4_096;
/** The request header that the Vary header names in responses of at least that length. */
export const VARY_CODING = "accept-encoding";

/** Additional responses are sent uncompressed. Compression shares its threads with LevelDB's reads. */
const MAX_CONCURRENT = 2;
/** Brotli at this quality is about as fast as gzip, and its output is smaller. */
const BROTLI = { params: { [constants.BROTLI_PARAM_QUALITY]: 4 } };

type Coding = "gzip" | "br";
type Compressed = (error: Error | null, body: Buffer) => void;

/** The codings in order of preference, for requests that accept several equally. */
const CODINGS: Readonly<
  Record<Coding, { whole: (body: string, done: Compressed) => void; parts: () => Transform }>
> = {
  gzip: { whole: (body, done) => gzip(body, done), parts: () => createGzip() },
  br: {
    whole: (body, done) => brotliCompress(body, BROTLI, done),
    parts: () => createBrotliCompress(BROTLI),
  },
};

/** Returns the coding that an Accept-Encoding header prefers; undefined if the body should be sent uncompressed. */
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
 * Sets the headers of a response that depend on its coding, given the length of its body. These are Vary and a weak
 * ETag, which is valid for the document in any coding (a strong ETag would promise identical bytes; see RFC 9110,
 * 8.8.1). Returns the coding that the request prefers; undefined, without setting any header, if the body is too short
 * to be compressed.
 */
export function describeCoding(
  request: FastifyRequest,
  reply: FastifyReply,
  length: number,
): Coding | undefined {
  if (length < MIN_COMPRESSED_CHARACTERS) return undefined;
  varyBy(reply, VARY_CODING);
  const coding = codingFor(request.headers["accept-encoding"]);
  const tag = reply.getHeader("etag");
  if (coding !== undefined && typeof tag === "string") void reply.header("etag", `W/${tag}`);
  return coding;
}

/** Event streams are not compressed, because each event must be sent immediately. */
export function compressOnRequest(app: FastifyInstance): void {
  let underWay = 0;
  app.addHook<unknown>("onSend", (request, reply, payload, done) => {
    if (!isCompressible(reply, payload)) return done(null, payload);
    const length = typeof payload === "string" ? payload.length : MIN_COMPRESSED_CHARACTERS;
    const coding = describeCoding(request, reply, length);
    if (coding === undefined) return done(null, payload);
    const isHead = request.method === "HEAD";
    if (!isHead && underWay >= MAX_CONCURRENT) return done(null, payload);
    void reply.header("content-encoding", coding);
    // The length of the compressed body would be known only after compressing it.
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

function isCompressible(reply: FastifyReply, payload: unknown): payload is string | Readable {
  const isLong =
    typeof payload === "string" ? payload.length >= MIN_COMPRESSED_CHARACTERS : payload instanceof Readable;
  return (
    isLong &&
    /^(?:application\/json|text\/(?:plain|html|css|javascript));/.test(
      String(reply.getHeader("content-type")),
    )
  );
}
