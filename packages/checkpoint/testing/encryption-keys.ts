import { randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import {
  CHARACTERS,
  CHECKSUM_LENGTH,
  expandPrefix,
  polymod,
  readEncryption,
  type StoreEncryption,
} from "../src/encryption/key-file.ts";

/** Returns a new identity, as age-keygen prints it. */
export function newIdentity(): string {
  return encodeBech32("age-secret-key-", randomBytes(32)).toUpperCase();
}

/** Encodes bytes in Bech32 (BIP 173), in lower case. */
export function encodeBech32(prefix: string, bytes: Uint8Array): string {
  const bits = Array.from(bytes, (byte) => byte.toString(2).padStart(8, "0")).join("");
  const groups = (bits.match(/.{1,5}/g) ?? []).map((group) => Number.parseInt(group.padEnd(5, "0"), 2));
  const zeros = Array<number>(CHECKSUM_LENGTH).fill(0);
  const state = polymod([...expandPrefix(prefix), ...groups, ...zeros]) ^ 1;
  const checksum = zeros.map((_, at) => (state >>> (5 * (CHECKSUM_LENGTH - 1 - at))) & 31);
  return `${prefix}1${[...groups, ...checksum].map((group) => CHARACTERS[group]).join("")}`;
}

/** Writes a key file with these identities into `dir`, and returns its path. */
export async function keyFile(dir: string, identities: readonly string[]): Promise<string> {
  const path = join(dir, `keys-${randomBytes(4).toString("hex")}.txt`);
  await writeFile(path, `# a key file\n\n${identities.join("\n")}\n`);
  return path;
}

/** Returns the encryption with these identities. */
export async function encryptionWith(
  dir: string,
  identities: readonly string[],
  options: Parameters<typeof readEncryption>[1] = {},
): Promise<StoreEncryption> {
  return readEncryption(await keyFile(dir, identities), options);
}
