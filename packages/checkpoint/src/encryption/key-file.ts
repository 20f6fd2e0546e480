import { createHmac, hkdfSync } from "node:crypto";
import { readFile } from "node:fs/promises";
import { CairnError, systemErrorCode } from "@cairn/kv";
import { decodeBech32 } from "./bech32.ts";
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

/** A key that authenticates files. */
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

/** Reads the key file at `path`. Throws `CONFIG_INVALID`; no message contains a part of a key. */
export async function readEncryption(
  path: string,
  { recipients = [], acceptPlain = false }: { recipients?: readonly string[]; acceptPlain?: boolean } = {},
): Promise<StoreEncryption> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
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
  const identities = parseIdentities(path, text);
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
