import {
  openSealed,
  requireEncrypted,
  SealedHeaderSchema,
  sealFile,
  type StoreEncryption,
} from "@cairn/checkpoint";
import { parsedJson } from "@cairn/text";
import { corruptSegment, decodeSegment, type Segment } from "./segment.ts";

/** How an encrypted segment's first line, its JSON header, begins; plain ones differ (docs/encryption.md). */
const BEGINNING = Buffer.from('{"format":"cairn-sealed/');
const NEWLINE = 0x0a;
const MAX_HEADER_BYTES = 262_144;

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
 * Decodes the segment in a file, decrypted if necessary. Throws `SEGMENT_CORRUPT` if it was changed, `KEY_MISSING` if
 * no key fits, and `PLAIN_REFUSED` if it must be encrypted but is an intact plain one. `release` as in
 * {@link decodeSegment}.
 */
export async function openSegment(
  file: string,
  stored: Buffer,
  encryption: StoreEncryption | undefined,
  release: () => void,
): Promise<Segment> {
  if (!stored.subarray(0, BEGINNING.length).equals(BEGINNING)) {
    const segment = await decodeSegment(file, stored, release);
    requireEncrypted(file, encryption);
    return segment;
  }
  const end = stored.subarray(0, MAX_HEADER_BYTES).indexOf(NEWLINE);
  if (end < 0) throw corruptSegment(file, "its first line is too long");
  const header = SealedHeaderSchema.safeParse(parsedJson(stored.toString("utf8", 0, end)));
  if (!header.success)
    throw corruptSegment(file, "its first line is invalid or of an unknown version", header.error);
  const plain = await openSealed(file, header.data, stored.subarray(end + 1), encryption, (why) =>
    corruptSegment(file, why),
  );
  release();
  return await decodeSegment(file, plain);
}
