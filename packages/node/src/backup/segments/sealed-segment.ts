import {
  type CheckpointStore,
  openSealed,
  requireEncrypted,
  requireKey,
  type SealedHeader,
  SealedHeaderSchema,
  sealFile,
  type StoreEncryption,
} from "@cairn/checkpoint";
import { isCairnError } from "@cairn/kv";
import { corruptSegment } from "./segment.ts";

/**
 * An encrypted segment: a line of JSON (the header), and the encrypted segment (docs/encryption.md). The beginning of
 * the line distinguishes it from a plain segment.
 */
const BEGINNING = Buffer.from('{"format":"cairn-sealed/');
const NEWLINE = 0x0a;
/** The maximum length of the header, in bytes. */
const MAX_HEADER_BYTES = 262_144;

/** Encrypts a segment if there are keys. Returns the content of its file in the store. */
export async function sealSegment(
  file: string,
  logId: string,
  content: Buffer,
  encryption: StoreEncryption | undefined,
): Promise<Buffer> {
  if (encryption === undefined) return content;
  const { header, encrypted } = await sealFile({ name: file, logId }, content, encryption);
  return Buffer.concat([Buffer.from(`${JSON.stringify(header)}\n`), encrypted]);
}

/**
 * Returns the segment in a file of the store: `stored` itself, or what it contains if it is encrypted. Throws
 * `SEGMENT_CORRUPT` if it was changed, `KEY_MISSING` if it cannot be decrypted, and `PLAIN_REFUSED` if it is not
 * encrypted but must be.
 */
export async function openSegment(
  file: string,
  stored: Buffer,
  encryption: StoreEncryption | undefined,
): Promise<Buffer> {
  if (!isSealed(stored)) {
    requireEncrypted(file, encryption);
    return stored;
  }
  const { header, bytes } = headerOf(file, stored);
  return await openSealed(file, header, stored.subarray(bytes), encryption, (why) =>
    corruptSegment(file, why),
  );
}

/**
 * Throws `KEY_MISSING` if a segment in a store is encrypted and no identity fits. Reads only its beginning. A node that
 * lacks the keys of its cluster would otherwise write plain segments next to encrypted ones.
 */
export async function requireSegmentKey(store: CheckpointStore, file: string): Promise<void> {
  let beginning: Buffer = Buffer.alloc(0);
  try {
    for await (const chunk of (await store.open(file)) as AsyncIterable<Buffer>) {
      beginning = Buffer.concat([beginning, chunk]);
      if (beginning.length >= MAX_HEADER_BYTES || beginning.includes(NEWLINE)) break;
    }
    if (isSealed(beginning)) requireKey(file, headerOf(file, beginning).header, store.encryption);
  } catch (error) {
    // Damage, and a segment that has just been removed, say nothing about keys.
    if (!isCairnError(error, "SEGMENT_CORRUPT") && !isCairnError(error, "NOT_FOUND")) throw error;
  }
}

/** Returns whether a segment is encrypted, judging by its beginning. */
function isSealed(stored: Buffer): boolean {
  return stored.subarray(0, BEGINNING.length).equals(BEGINNING);
}

/** Returns the header of an encrypted segment, and its size with its line feed. */
function headerOf(file: string, stored: Buffer): { header: SealedHeader; bytes: number } {
  const end = stored.subarray(0, MAX_HEADER_BYTES).indexOf(NEWLINE);
  if (end < 0) throw corruptSegment(file, "its first line is too long");
  return { header: parseHeader(file, stored.toString("utf8", 0, end)), bytes: end + 1 };
}

function parseHeader(file: string, line: string): SealedHeader {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (error) {
    if (error instanceof SyntaxError) throw corruptSegment(file, "its first line is invalid", error);
    throw error;
  }
  const parsed = SealedHeaderSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw corruptSegment(file, "its first line is invalid or of an unknown version", parsed.error);
}
