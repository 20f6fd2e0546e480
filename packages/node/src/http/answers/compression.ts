import { pipeline, type Readable, type Transform } from "node:stream";
import { promisify } from "node:util";
import { brotliCompress, constants, createBrotliCompress, createGzip, gzip } from "node:zlib";

const MIN_COMPRESSED_CHARACTERS = 4_096;
/** Additional responses are sent uncompressed. Compression shares its threads with LevelDB's reads. */
const MAX_CONCURRENT = 2;
/** Brotli at this quality is about as fast as gzip, and its output is smaller. */
const BROTLI = { params: { [constants.BROTLI_PARAM_QUALITY]: 4 } };

type Coding = "gzip" | "br";

const wholeGzip = promisify(gzip);
const wholeBrotli = promisify<string, typeof BROTLI, Buffer>(brotliCompress);

/** The codings in order of preference, for requests that accept several equally. */
const CODINGS: Readonly<
  Record<Coding, { whole: (body: string) => Promise<Buffer>; parts: () => Transform }>
> = {
  gzip: { whole: wholeGzip, parts: () => createGzip() },
  br: {
    whole: async (body) => await wholeBrotli(body, BROTLI),
    parts: () => createBrotliCompress(BROTLI),
  },
};

interface Accepted {
  readonly name: string;
  readonly q: number;
}

/** Parses a header such as Accept or Accept-Encoding (RFC 9110, 12.4.2 and 12.5) into lower-case names without parameters. */
export function accepted(header: string): Accepted[] {
  return header
    .split(",")
    .map((part): Accepted => {
      const [name = "", ...parameters] = part.split(";").map((one) => one.trim().toLowerCase());
      const weight = parameters.find((one) => one.startsWith("q="))?.slice(2) ?? "1";
      // A malformed weight counts as 0.
      return { name, q: /^(?:0(?:\.\d{0,3})?|1(?:\.0{0,3})?)$/.test(weight) ? Number(weight) : 0 };
    })
    .filter(({ name }) => name !== "");
}

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

/** Returns whether a body is compressed if its client wishes. Event streams are not: each event must be sent at once. */
export function isCompressible(body: string | Readable, type: string): boolean {
  return (
    (typeof body !== "string" || body.length >= MIN_COMPRESSED_CHARACTERS) &&
    /^(?:application\/json|text\/(?:plain|html|css|javascript));/.test(type)
  );
}

let underWay = 0;

/** Compresses a body, as a whole or as it is sent. Returns undefined if too many others are being compressed. */
export function compressed(body: string | Readable, coding: Coding): Promise<Buffer> | Readable | undefined {
  if (underWay >= MAX_CONCURRENT) return undefined;
  underWay += 1;
  const ended = (): void => void (underWay -= 1);
  const { whole, parts } = CODINGS[coding];
  return typeof body === "string" ? whole(body).finally(ended) : pipeline(body, parts(), ended);
}
