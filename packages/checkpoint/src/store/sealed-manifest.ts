import type { CairnError } from "@cairn/kv";
import type { StoreEncryption } from "../encryption/key-file.ts";
import type { SealedHeader } from "../encryption/sealed-file.ts";
import { archivePacking } from "./archive-format.ts";
import {
  checkpointFile,
  decodeManifest,
  encodeManifest,
  invalidManifest,
  type Manifest,
  parseManifestText,
  type StoredManifest,
} from "./checkpoint.ts";
import { openText, sealText } from "./sealed-text.ts";

/** Encodes a manifest for the store, and encrypts its text if there are keys. */
export async function sealManifest(
  name: string,
  manifest: Manifest,
  encryption: StoreEncryption | undefined,
): Promise<ReturnType<typeof encodeManifest>> {
  const place = { name: checkpointFile(name, "manifest"), logId: manifest.log.id };
  const { text, sha256 } = encodeManifest(manifest);
  return { text: await sealText(place, text, encryption), sha256 };
}

/**
 * Throws `CHECKPOINT_CORRUPT` for an invalid or changed manifest, `KEY_MISSING` for one that cannot be decrypted, and
 * `PLAIN_REFUSED` for one that is not encrypted but must be.
 */
export async function openManifest(
  name: string,
  stored: string,
  encryption: StoreEncryption | undefined,
): Promise<StoredManifest> {
  const corrupt = (why: string): CairnError => invalidManifest(name, why);
  const parse = (text: string): unknown => parseManifestText(name, text);
  const file = checkpointFile(name, "manifest");
  const decode = (text: string, header: SealedHeader | undefined): StoredManifest => {
    const manifest = decodeManifest(name, text);
    const isSealed = header !== undefined;
    // A plain manifest could otherwise present an encrypted archive as its own.
    if (archivePacking(manifest).encrypted !== isSealed)
      throw corrupt(`its archive is ${isSealed ? "not " : ""}encrypted, unlike the manifest`);
    if (isSealed && manifest.log.id !== header.log) throw corrupt(`it belongs to the log ${manifest.log.id}`);
    return manifest;
  };
  return await openText(file, stored, encryption, { parse, corrupt, decode });
}
