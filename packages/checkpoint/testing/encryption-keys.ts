import { randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { encodeBech32 } from "../src/encryption/bech32.ts";
import { readEncryption, type StoreEncryption } from "../src/encryption/key-file.ts";

/** Returns a new identity, as age-keygen prints it. */
export function newIdentity(): string {
  return encodeBech32("age-secret-key-", randomBytes(32)).toUpperCase();
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
