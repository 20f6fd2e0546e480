import { createHmac, hkdfSync } from "node:crypto";
import { CairnError, readSmallFile, systemErrorCode } from "@cairn/kv";
import { KEY_BYTES, recipientOf } from "./x25519.ts";

/** The keys with which the files of a store are encrypted, authenticated and read. */
export interface StoreEncryption {
  /** The secret keys, each of which decrypts. */
  readonly identities: readonly Uint8Array[];
  /** The public keys to which new files are encrypted. They include those of all identities. */
  readonly recipients: readonly Uint8Array[];
  /** The keys with which new files are authenticated, one for each identity. */
  readonly macKeys: readonly MacKey[];
  /** Whether files that are not encrypted are accepted as well. */
  readonly acceptPlain: boolean;
}

export interface MacKey {
  /** Identifies the key, without revealing it: 16 hexadecimal digits. */
  readonly id: string;
  mac(text: string): string;
}

const IDENTITY_PREFIX = "age-secret-key-";
const RECIPIENT_PREFIX = "age";
const MAC_INFO = "cairn/1 mac";
const KEY_ID_INFO = "cairn/1 key id";
const KEY_ID_BYTES = 8;
const KEY_FILE_HINT =
  "Create a key file with age-keygen -o FILE. Each of its lines is an identity (AGE-SECRET-KEY-1…), a comment (#) or empty.";

/** Returns whether a text that should name a file contains an identity, so that no message may repeat it. */
export function holdsIdentity(text: string): boolean {
  return /age-secret-key-[0-9a-z-]{20}/i.test(text);
}

/** What is said about a text that {@link holdsIdentity}. */
export const IDENTITY_AS_PATH = {
  message: "An identity (AGE-SECRET-KEY-1…) was given instead of the path of a file.",
  hint: "Write the identity into a file that only this user can read (chmod 600), and name that file.",
};

/** Reads the key file at `path`. Throws `CONFIG_INVALID`; no message contains a part of a key. */
export async function readEncryption(
  path: string,
  { recipients = [], acceptPlain = false }: { recipients?: readonly string[]; acceptPlain?: boolean } = {},
): Promise<StoreEncryption> {
  if (holdsIdentity(path))
    throw new CairnError("CONFIG_INVALID", IDENTITY_AS_PATH.message, IDENTITY_AS_PATH.hint);
  let bytes: Buffer | undefined;
  try {
    bytes = await readSmallFile(path);
  } catch (error) {
    if (systemErrorCode(error) === undefined) throw error;
    throw new CairnError(
      "CONFIG_INVALID",
      `The key file ${path} cannot be read (${systemErrorCode(error)}).`,
      {
        hint: "Name a file that this user can read. age-keygen -o FILE creates one.",
        cause: error,
      },
    );
  }
  if (bytes === undefined)
    throw new CairnError("CONFIG_INVALID", `The file ${path} is too large for a key file.`, KEY_FILE_HINT);
  const identities = parseIdentities(path, bytes.toString("utf8"));
  const others = recipients.map((recipient) => {
    const key = decodeRecipient(recipient);
    if (key !== undefined) return key;
    throw new CairnError(
      "CONFIG_INVALID",
      `${JSON.stringify(recipient)} is not a recipient of age.`,
      "Write the recipient as age-keygen -y FILE prints it: age1 and 58 more characters.",
    );
  });
  return {
    identities,
    recipients: [...identities.map(recipientOf), ...others],
    macKeys: identities.map(macKeyOf),
    acceptPlain,
  };
}

/** Decodes a recipient of age (`age1…`); undefined if it is invalid. */
export function decodeRecipient(text: string): Uint8Array | undefined {
  const key = decodeBech32(RECIPIENT_PREFIX, text);
  return key?.length === KEY_BYTES ? key : undefined;
}

/** Decodes an identity of age (`AGE-SECRET-KEY-1…`); undefined if it is invalid. */
export function decodeIdentity(text: string): Uint8Array | undefined {
  const key = text === text.toUpperCase() ? decodeBech32(IDENTITY_PREFIX, text) : undefined;
  return key?.length === KEY_BYTES ? key : undefined;
}

function parseIdentities(path: string, text: string): Uint8Array[] {
  const identities: Uint8Array[] = [];
  for (const [index, raw] of text.split("\n").entries()) {
    const line = raw.trim();
    if (line === "" || line.startsWith("#")) continue;
    const identity = decodeIdentity(line);
    if (identity === undefined) {
      throw new CairnError(
        "CONFIG_INVALID",
        `Line ${index + 1} of the key file ${path} is not an identity.`,
        KEY_FILE_HINT,
      );
    }
    identities.push(identity);
  }
  if (identities.length > 0) return identities;
  throw new CairnError("CONFIG_INVALID", `The key file ${path} contains no identity.`, KEY_FILE_HINT);
}

function macKeyOf(identity: Uint8Array): MacKey {
  const derive = (info: string, bytes: number): Buffer =>
    Buffer.from(hkdfSync("sha256", identity, new Uint8Array(0), info, bytes));
  const key = derive(MAC_INFO, KEY_BYTES);
  return {
    id: derive(KEY_ID_INFO, KEY_ID_BYTES).toString("hex"),
    mac: (text) => createHmac("sha256", key).update(text).digest("hex"),
  };
}

/** The characters of Bech32 (BIP 173), by the 5 bits for which they stand. */
export const CHARACTERS = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
const GENERATOR = [0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3];
export const CHECKSUM_LENGTH = 6;
const GROUP_BITS = 5;

/**
 * Decodes Bech32 text with the given prefix in lower case; undefined if the text is anything else. Texts in upper case
 * are valid, as in BIP 173, and so are those longer than its 90 characters.
 */
function decodeBech32(prefix: string, text: string): Uint8Array | undefined {
  const lower = text.toLowerCase();
  if (text !== lower && text !== text.toUpperCase()) return undefined;
  if (!lower.startsWith(`${prefix}1`)) return undefined;
  const groups = Array.from(lower.slice(prefix.length + 1), (character) => CHARACTERS.indexOf(character));
  if (groups.length < CHECKSUM_LENGTH || groups.includes(-1)) return undefined;
  if (polymod([...expandPrefix(prefix), ...groups]) !== 1) return undefined;
  const bytes = regroup(groups.slice(0, -CHECKSUM_LENGTH));
  return bytes === undefined ? undefined : Uint8Array.from(bytes);
}

export function expandPrefix(prefix: string): number[] {
  const codes = [...prefix].map((character) => character.charCodeAt(0));
  return [...codes.map((code) => code >>> 5), 0, ...codes.map((code) => code & 31)];
}

export function polymod(values: readonly number[]): number {
  let state = 1;
  for (const value of values) {
    const top = state >>> 25;
    state = ((state & 0x1ffffff) << 5) ^ value;
    for (const [bit, term] of GENERATOR.entries()) if (((top >>> bit) & 1) === 1) state ^= term;
  }
  return state;
}

/** Joins groups of 5 bits to bytes. Returns undefined if bits are left over that are not padding. */
function regroup(groups: Iterable<number>): number[] | undefined {
  const bytes: number[] = [];
  let [held, bits] = [0, 0];
  for (const group of groups) {
    held = (held << GROUP_BITS) | group;
    bits += GROUP_BITS;
    if (bits < 8) continue;
    bits -= 8;
    bytes.push(held >>> bits);
    held &= (1 << bits) - 1;
  }
  return bits < GROUP_BITS && held === 0 ? bytes : undefined;
}
