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

/** Encrypts the text of a file if there are keys. */
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
 * Returns the decrypted text of a file, and its header if it was encrypted. Throws what `corrupt` returns if it was
 * changed, `KEY_MISSING` if it cannot be decrypted, and `PLAIN_REFUSED` if it is not encrypted but must be. `parse`
 * parses JSON.
 */
export async function openText(
  file: string,
  text: string,
  encryption: StoreEncryption | undefined,
  { parse, corrupt }: { parse: (text: string) => unknown; corrupt: (why: string) => CairnError },
): Promise<{ readonly text: string; readonly header?: SealedHeader }> {
  if (!BEGINNING.test(text)) {
    requireEncrypted(file, encryption);
    return { text };
  }
  const parsed = SealedTextSchema.safeParse(parse(text));
  if (!parsed.success) throw corrupt("its header is invalid or of an unknown version");
  const { sealed, encrypted } = parsed.data;
  const content = await openSealed(file, sealed, Buffer.from(encrypted, "base64"), encryption, corrupt);
  return { text: content.toString("utf8"), header: sealed };
}

/** Returns the log id in the header of an encrypted text. Without a key, it cannot be authenticated. */
export function sealedLogId(text: string): string | undefined {
  return SealedTextSchema.parse(JSON.parse(text)).sealed.log;
}
