import { pipeline, type Readable } from "node:stream";
import { promisify } from "node:util";
import { createGzip, gzip } from "node:zlib";

const MIN_COMPRESSED_CHARACTERS = 4_096;
/** Additional responses are sent uncompressed. Compression shares its threads with LevelDB's reads. */
const MAX_CONCURRENT = 2;

const wholeGzip = promisify<string, Buffer>(gzip);

/** Matches gzip among the codings of an Accept-Encoding header (RFC 9110, 12.5.3), unless its weight is 0. */
const ACCEPTS_GZIP = /(?:^|,)\s*(?:x-)?gzip\s*(?:;\s*q\s*=\s*(?:1|0?\.0{0,2}[1-9])[\d.]*\s*)?(?:,|$)/i;

/** Returns whether a client that sends this Accept-Encoding header names gzip, the only coding of this server. */
export function acceptsGzip(acceptEncoding = ""): boolean {
  return ACCEPTS_GZIP.test(acceptEncoding);
}

/** Returns whether a body is compressed if its client wishes. Event streams are not: each event must be sent at once. */
export function isCompressible(body: string | Readable, type: string): boolean {
  return (
    (typeof body !== "string" || body.length >= MIN_COMPRESSED_CHARACTERS) &&
    /^(?:application\/json|text\/(?:plain|html|css|javascript));/.test(type)
  );
}

let underWay = 0;

/** Compresses a body, as a whole or as it is sent. Returns undefined if too many others are being compressed. */
export function compressed(body: string | Readable): Promise<Buffer> | Readable | undefined {
  if (underWay >= MAX_CONCURRENT) return undefined;
  underWay += 1;
  const ended = (): void => void (underWay -= 1);
  return typeof body === "string" ? wholeGzip(body).finally(ended) : pipeline(body, createGzip(), ended);
}
