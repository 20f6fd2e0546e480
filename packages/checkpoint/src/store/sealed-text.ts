import type { CairnError } from "@cairn/kv";
import { z } from "zod";
import type { StoreEncryption } from "../encryption/key-file.ts";
import {
  openSealed,
  requireEncrypted,
  type SealedHeader,
  SealedHeaderSchema,
  type SealedPlace,
  sealFile,
} from "../encryption/sealed-file.ts";

/** A small file of JSON that is encrypted: the header, and the encrypted text in base64. */
const SealedTextSchema = z.object({ sealed: SealedHeaderSchema, encrypted: z.base64() });
/** The beginning of every encrypted text, and of no other. */
const BEGINNING = /^\s*\{\s*"sealed"/;

export async function sealText(
  place: SealedPlace,
  text: string,
  encryption: StoreEncryption | undefined,
): Promise<string> {
  if (encryption === undefined) return text;
  const { header, encrypted } = await sealFile(place, Buffer.from(text), encryption);
  return `${JSON.stringify({ sealed: header, encrypted: encrypted.toString("base64") }, null, 1)}\n`;
}

/**
 * Returns what `decode` makes of the text of a file, decrypted if necessary. Throws what `corrupt` returns if it was
 * changed, `KEY_MISSING` if it cannot be decrypted, and `PLAIN_REFUSED` if it must be encrypted but is a valid plain
 * text; what is neither is damaged, as `decode` says. `parse` parses JSON.
 */
export async function openText<T>(
  file: string,
  text: string,
  encryption: StoreEncryption | undefined,
  {
    parse,
    corrupt,
    decode,
  }: {
    parse: (text: string) => unknown;
    corrupt: (why: string) => CairnError;
    decode: (text: string, header: SealedHeader | undefined) => T;
  },
): Promise<T> {
  if (!BEGINNING.test(text)) {
    const plain = decode(text, undefined);
    requireEncrypted(file, encryption);
    return plain;
  }
  const parsed = SealedTextSchema.safeParse(parse(text));
  if (!parsed.success) throw corrupt("its header is invalid or of an unknown version");
  const { sealed, encrypted } = parsed.data;
  const content = await openSealed(file, sealed, Buffer.from(encrypted, "base64"), encryption, corrupt);
  return decode(content.toString("utf8"), sealed);
}

/** Returns the log id in the header of an encrypted text. Without a key, it cannot be authenticated. */
export function sealedLogId(text: string): string | undefined {
  return SealedTextSchema.parse(JSON.parse(text)).sealed.log;
}
