import { promisify } from "node:util";
import { gunzip, gzip } from "node:zlib";
import { sha256Of } from "@cairn/checkpoint";
import { CairnError, errorMessage } from "@cairn/kv";
import { parsedJson } from "@cairn/text";
import { z } from "zod";
import { anchorOf } from "../../log/anchor.ts";
import type { LogMessage } from "../../log/tx-log.ts";
import { parseMessages, type SegmentMessages, writeMessages } from "./segment-messages.ts";
import { backupFolder, parseSegmentName, type SegmentName, segmentFile } from "./segment-name.ts";

/**
 * A segment: a line of JSON (the header), the messages, and a line with the SHA-256 of all before it. Each message is
 *
 *   <position> <time in nanoseconds since 1970> <length of the payload> LF <payload> LF
 *
 * If the codec in the header is gzip, the messages are compressed as a whole.
 */
const FORMAT = "cairn-segment/1";
const NEWLINE = 0x0a;
/** The smallest chunk size that zlib accepts. */
const MIN_CHUNK_BYTES = 64;
/** The maximum size of a segment, compressed or not. They are filled up to 8 MiB, but one message may be 64 MiB. */
export const MAX_SEGMENT_BYTES = 80 * 1024 * 1024;
const MAX_LINE_BYTES = 65_536;
/** The length of the last line with its line feed, in bytes. */
const END_BYTES = 65;

const zip = promisify(gzip);
const unzip = promisify(gunzip);

export type SegmentCodec = "none" | "gzip";

const Sha256 = z.string().regex(/^[0-9a-f]{64}$/);
const Count = z.int().min(0);
const HeaderSchema = z.object({
  format: z.literal(FORMAT),
  log: z.object({ id: z.string().min(1), name: z.string(), offset: Count }),
  first: z.int().min(1),
  last: z.int().min(1),
  /** The SHA-256 of the anchor of the message before the first one; null if it is unknown or if there is none. */
  before: Sha256.nullable(),
  end: Sha256,
  /** The size of the messages, uncompressed. */
  bytes: Count.max(MAX_SEGMENT_BYTES),
  codec: z.enum(["none", "gzip"]),
  node: z.string(),
  at: z.iso.datetime(),
});

/** The first line of a segment. `first` and `last` are transaction ids. See docs/internals/log-backup-format.md. */
export type SegmentHeader = z.infer<typeof HeaderSchema>;

/** A decoded segment. Its payloads are views into one buffer. */
export interface Segment {
  readonly file: string;
  readonly header: SegmentHeader;
  readonly messages: SegmentMessages;
  /** Gives the memory back. After that, neither the messages nor views of their payloads may be used. */
  readonly release: () => void;
}

interface SegmentSource {
  readonly log: SegmentHeader["log"];
  readonly before: string | undefined;
  /** The messages, without a hole. There is at least one. */
  readonly messages: readonly LogMessage[];
  readonly node: string;
  /** When the segment is written, by the store's clock (ms since 1970). */
  readonly at: number;
  readonly codec: SegmentCodec;
}

export async function encodeSegment(source: SegmentSource): Promise<{ file: string; content: Buffer }> {
  const { log, before, messages, node, at, codec } = source;
  const [first, last] = [messages[0], messages.at(-1)];
  if (first === undefined || last === undefined) throw new Error("a segment must have at least one message");
  const plain = await writeMessages(messages);
  const end = anchorOf(last).sha256;
  const header: SegmentHeader = {
    format: FORMAT,
    log,
    first: first.position + log.offset,
    last: last.position + log.offset,
    before: before ?? null,
    end,
    bytes: plain.length,
    codec,
    node,
    at: new Date(at).toISOString(),
  };
  const body = codec === "gzip" ? await zip(plain) : plain;
  const content = Buffer.concat([Buffer.from(`${JSON.stringify(header)}\n`), body, LINE_END]);
  return {
    file: segmentFile({
      logId: log.id,
      first: header.first,
      last: header.last,
      end: end.slice(0, 8),
      plainBytes: codec === "none" ? undefined : plain.length,
    }),
    content: Buffer.concat([content, Buffer.from(`${await sha256Of(content)}\n`)]),
  };
}

const LINE_END = Buffer.from("\n");

/** Decodes a segment. Throws `SEGMENT_CORRUPT` unless its digest, its name and its messages agree. */
export async function decodeSegment(
  file: string,
  content: Buffer,
  release: () => void = () => undefined,
): Promise<Segment> {
  const name = parseSegmentName(file);
  if (name === undefined) throw corruptSegment(file, "its name is not the name of a segment");
  const endAt = Math.max(0, content.length - END_BYTES);
  const sha256 = await sha256Of(content.subarray(0, endAt));
  if (content.toString("latin1", endAt) !== `${sha256}\n`)
    throw corruptSegment(file, "its SHA-256 does not match; it was changed or truncated");
  const header = parseHeader(file, content);
  const why = misnamed(name, header);
  if (why !== undefined) throw corruptSegment(file, why);
  const bodyAt = content.indexOf(NEWLINE) + 1;
  const stored = content.subarray(bodyAt, endAt - 1);
  const plain = header.codec === "gzip" ? await unzipped(file, stored, header.bytes) : stored;
  if (plain.length !== header.bytes)
    throw corruptSegment(file, `its messages have ${plain.length} bytes instead of ${header.bytes}`);
  const messages = await parseMessages(plain, header, (reason) => corruptSegment(file, reason));
  const last = messages.get(header.last);
  if (last === undefined || anchorOf(last).sha256 !== header.end)
    throw corruptSegment(file, "its last message does not match its header");
  return { file, header, messages, release };
}

/** The error of a single segment, `SEGMENT_CORRUPT` or `PLAIN_REFUSED`, with its file. */
export class UnusableSegment extends CairnError {
  readonly file: string;

  constructor(file: string, ...error: ConstructorParameters<typeof CairnError>) {
    super(...error);
    this.file = file;
  }
}

export function corruptSegment(file: string, why: string, cause?: unknown): UnusableSegment {
  return new UnusableSegment(file, "SEGMENT_CORRUPT", `The segment ${file} is damaged: ${why}.`, {
    hint: "Remove the file, and newest.json beside it: if the log still holds its transactions, a node writes them again at its next look. If the log has been trimmed past them, replace the file with a copy, or save a checkpoint beyond it on a ready node: cairn checkpoint create --url URL (the address of that node). cairn log backup verify shows what else is missing.",
    cause,
  });
}

function parseHeader(file: string, content: Buffer): SegmentHeader {
  const length = content.indexOf(NEWLINE);
  if (length > MAX_LINE_BYTES) throw corruptSegment(file, "its first line is too long");
  const parsed = HeaderSchema.safeParse(parsedJson(content.toString("utf8", 0, Math.max(0, length))));
  if (parsed.success) return parsed.data;
  throw corruptSegment(file, "its first line is invalid or of an unknown version", parsed.error);
}

function misnamed(
  name: SegmentName,
  { log, first, last, end, codec, bytes }: SegmentHeader,
): string | undefined {
  const plainBytes = codec === "none" ? undefined : bytes;
  const isNamed =
    name.first === first &&
    name.last === last &&
    end.startsWith(name.end) &&
    name.plainBytes === plainBytes &&
    first > log.offset;
  if (!isNamed) return `it holds transactions ${first} to ${last}, which contradicts its name`;
  return backupFolder(name.logId) === backupFolder(log.id) ? undefined : `it belongs to the log ${log.id}`;
}

async function unzipped(file: string, stored: Buffer, bytes: number): Promise<Buffer> {
  try {
    // One extra byte, so that the length reveals excess content; one chunk, so that nothing is copied.
    return await unzip(stored, {
      maxOutputLength: bytes + 1,
      chunkSize: Math.max(bytes + 1, MIN_CHUNK_BYTES),
    });
  } catch (error) {
    throw corruptSegment(file, `its messages cannot be decompressed: ${errorMessage(error)}`, error);
  }
}
