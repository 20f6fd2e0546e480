import { createHmac, hkdfSync, randomBytes, timingSafeEqual } from "node:crypto";
import { FILE_KEY_BYTES, KEY_BYTES, TAG_BYTES, unwrapFileKey, wrapFileKey } from "./x25519.ts";

/** What is wrong with a file in the age format, in the terms of its specification. */
export type AgeFault = "header" | "no match" | "HMAC" | "payload";

/** A file that is not in the age format, was changed, or is encrypted to other recipients. */
export class AgeError extends Error {
  readonly fault: AgeFault;

  /** `message` is a clause. */
  constructor(fault: AgeFault, message: string) {
    super(message);
    this.name = "AgeError";
    this.fault = fault;
  }
}

/** The header of a file in age's format (https://age-encryption.org/v1): its key, encrypted to each recipient. */

const VERSION = "age-encryption.org/v1";
const TYPE = "X25519";
const MAC_BYTES = 32;
const BODY_COLUMNS = 64;
/** The maximum size of a header that is read, in bytes: it has room for several hundred recipients. */
export const MAX_HEADER_BYTES = 65_536;
/** The size of a header without recipients, and of what each recipient adds, in bytes. */
const EMPTY_HEADER_BYTES = 70;
const STANZA_BYTES = 98;

interface Stanza {
  readonly args: readonly string[];
  readonly body: Buffer;
}

export function headerSize(recipients: number): number {
  return EMPTY_HEADER_BYTES + recipients * STANZA_BYTES;
}

/** Creates the key of a new file, and the header that encrypts it to `recipients`. */
export function createHeader(recipients: readonly Uint8Array[]): { fileKey: Buffer; header: Buffer } {
  const fileKey = randomBytes(FILE_KEY_BYTES);
  const stanzas = recipients.map((recipient) => {
    const { share, wrapped } = wrapFileKey(fileKey, recipient);
    // The wrapped key has 43 digits, so its body is a single line.
    return `-> ${TYPE} ${base64(share)}\n${base64(wrapped)}\n`;
  });
  const checked = `${VERSION}\n${stanzas.join("")}---`;
  const header = Buffer.from(`${checked} ${base64(macOf(fileKey, Buffer.from(checked)))}\n`);
  return { fileKey, header };
}

/** Decrypts the file's key with the first identity that can. Returns the header's size. Throws {@link AgeError}. */
export function openHeader(
  content: Buffer,
  identities: readonly Uint8Array[],
): { fileKey: Buffer; bytes: number } {
  const { stanzas, mac, checkedBytes, bytes } = parseHeader(content);
  const fileKey = unwrapAny(stanzas, identities);
  if (fileKey === undefined) throw new AgeError("no match", "it is encrypted to other recipients");
  if (!timingSafeEqual(macOf(fileKey, content.subarray(0, checkedBytes)), mac))
    throw new AgeError("HMAC", "its age header was changed");
  return { fileKey, bytes };
}

function parseHeader(content: Buffer): {
  stanzas: Stanza[];
  mac: Buffer;
  checkedBytes: number;
  bytes: number;
} {
  let at = 0;
  const nextLine = (): string => {
    const end = content.indexOf(0x0a, at);
    if (end < 0 || end > MAX_HEADER_BYTES) throw faulty("its age header does not end");
    const line = content.toString("latin1", at, end);
    at = end + 1;
    return line;
  };
  if (nextLine() !== VERSION) throw faulty("it does not begin as a file of age");
  const stanzas: Stanza[] = [];
  for (;;) {
    const lineAt = at;
    const line = nextLine();
    if (line.startsWith("--- ")) {
      const mac = decodeBase64(line.slice(4));
      if (mac?.length !== MAC_BYTES) throw faulty("its age header has no valid MAC");
      return { stanzas, mac, checkedBytes: lineAt + 3, bytes: at };
    }
    const args = line.slice(3).split(" ");
    if (!line.startsWith("-> ") || !args.every((arg) => /^[\x21-\x7e]+$/.test(arg)))
      throw faulty("its age header has an invalid line");
    stanzas.push({ args, body: readBody(nextLine) });
  }
}

function readBody(nextLine: () => string): Buffer {
  const parts: Buffer[] = [];
  for (;;) {
    const line = nextLine();
    const part = line.length > BODY_COLUMNS ? undefined : decodeBase64(line);
    if (part === undefined) throw faulty("its age header has an invalid line");
    parts.push(part);
    if (line.length < BODY_COLUMNS) return Buffer.concat(parts);
  }
}

function unwrapAny(stanzas: readonly Stanza[], identities: readonly Uint8Array[]): Buffer | undefined {
  let found: Buffer | undefined;
  for (const { args, body } of stanzas) {
    // Stanzas of other types are for recipients of other kinds.
    if (args[0] !== TYPE) continue;
    const share = decodeBase64(args[1] ?? "");
    if (args.length !== 2 || share?.length !== KEY_BYTES || body.length !== FILE_KEY_BYTES + TAG_BYTES)
      throw faulty("its age header has an invalid recipient");
    for (const identity of identities) {
      try {
        found ??= unwrapFileKey(identity, share, body);
      } catch {
        throw faulty("its age header has an invalid share");
      }
    }
  }
  return found;
}

function macOf(fileKey: Uint8Array, checked: Uint8Array): Buffer {
  const key = new Uint8Array(hkdfSync("sha256", fileKey, new Uint8Array(0), "header", MAC_BYTES));
  return createHmac("sha256", key).update(checked).digest();
}

function base64(bytes: Buffer): string {
  return bytes.toString("base64").replace(/=+$/, "");
}

/** Decodes base64 without padding; undefined if the text is not canonical. */
function decodeBase64(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, "base64");
  return base64(bytes) === text ? bytes : undefined;
}

function faulty(why: string): AgeError {
  return new AgeError("header", why);
}
