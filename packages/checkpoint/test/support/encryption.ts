import { randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { ByteSource } from "../../src/encryption/age-payload.ts";
import { encodeBech32 } from "../../src/encryption/bech32.ts";
import { readEncryption, type StoreEncryption } from "../../src/encryption/key-file.ts";

/** Reads a source in steps that divide its chunks, to its end or its error. */
export async function readAll(source: ByteSource): Promise<{ content: Buffer; error?: unknown }> {
  const parts: Buffer[] = [];
  const step = Buffer.alloc(4096);
  try {
    for (;;) {
      const got = await source.fill(step);
      parts.push(Buffer.from(step.subarray(0, got)));
      if (got < step.length) return { content: Buffer.concat(parts) };
    }
  } catch (error) {
    return { content: Buffer.concat(parts), error };
  }
}

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
