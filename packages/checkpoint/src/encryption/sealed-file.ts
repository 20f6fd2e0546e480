import { createHash, timingSafeEqual } from "node:crypto";
import { Readable } from "node:stream";
import { setImmediate } from "node:timers/promises";
import { CairnError, TimeSlice } from "@cairn/kv";
import { z } from "zod";
import { AgeError } from "./age-header.ts";
import { ageWriter, chunkSource, decrypted } from "./age-payload.ts";
import type { MacKey, StoreEncryption } from "./key-file.ts";

/** A file encrypted as a whole. Its header authenticates it and its name: anyone who knows a recipient can encrypt. */
const FORMAT = "cairn-sealed/1";
/** The number of bytes that are processed at a time, so that the event loop is not blocked. */
const SLICE_BYTES = 1024 * 1024;

const Sha256 = z.string().regex(/^[0-9a-f]{64}$/);

/** The schema of the header of an encrypted file (docs/encryption.md). */
export const SealedHeaderSchema = z.object({
  format: z.literal(FORMAT),
  name: z.string(),
  /** The id of the log to which the file belongs; absent in marks, which belong to a checkpoint. */
  log: z.string().min(1).optional(),
  bytes: z.int().min(0),
  sha256: Sha256,
  macs: z.array(z.object({ key: z.string().regex(/^[0-9a-f]{16}$/), mac: Sha256 })).max(1000),
});

export type SealedHeader = z.infer<typeof SealedHeaderSchema>;

export interface SealedPlace {
  readonly name: string;
  readonly logId?: string;
}

/** Encrypts the content of a small file, and authenticates it and its name. */
export async function sealFile(
  { name, logId }: SealedPlace,
  content: Buffer,
  { recipients, macKeys }: StoreEncryption,
): Promise<{ header: SealedHeader; encrypted: Buffer }> {
  const writer = ageWriter(recipients);
  const parts = [writer.head];
  for (let at = 0; at < content.length; at += SLICE_BYTES) {
    parts.push(...writer.update(content.subarray(at, at + SLICE_BYTES)));
    if (at > 0) await setImmediate();
  }
  const encrypted = Buffer.concat([...parts, ...writer.end()]);
  const signed = {
    name,
    ...(logId === undefined ? {} : { log: logId }),
    bytes: encrypted.length,
    sha256: await sha256Of(encrypted),
  };
  const text = signedText(signed);
  const macs = macKeys.map(({ id, mac }) => ({ key: id, mac: mac(text) }));
  return { header: { format: FORMAT, ...signed, macs }, encrypted };
}

/** Throws what `corrupt` returns if the file or its name was changed, and `KEY_MISSING` if no identity fits. */
export async function openSealed(
  file: string,
  header: SealedHeader,
  encrypted: Buffer,
  encryption: StoreEncryption | undefined,
  corrupt: (why: string) => CairnError,
): Promise<Buffer> {
  const { macKey, identities } = requireKey(file, header, encryption);
  const given = header.macs.find(({ key }) => key === macKey.id)?.mac ?? "";
  const expected = macKey.mac(signedText(header));
  if (!timingSafeEqual(Buffer.from(given), Buffer.from(expected)))
    throw corrupt("its MAC does not match; it was changed, or not written by a holder of the key");
  if (header.name !== file) throw corrupt(`it was written as ${header.name}`);
  if (header.bytes !== encrypted.length)
    throw corrupt(`its encrypted content has ${encrypted.length} bytes instead of ${header.bytes}`);
  if ((await sha256Of(encrypted)) !== header.sha256)
    throw corrupt("the SHA-256 of its encrypted content does not match");
  try {
    return await decryptAll(encrypted, identities);
  } catch (error) {
    if (error instanceof AgeError) throw corrupt(error.message);
    throw error;
  }
}

/** Returns the keys for a file. Throws `KEY_MISSING` if no identity fits. */
function requireKey(
  file: string,
  { macs }: Pick<SealedHeader, "macs">,
  encryption: StoreEncryption | undefined,
): { readonly macKey: MacKey; readonly identities: readonly Uint8Array[] } {
  if (encryption === undefined) throw keyMissing(file, "is encrypted, but there is no key file");
  const macKey = encryption.macKeys.find(({ id }) => macs.some(({ key }) => key === id));
  if (macKey === undefined) throw keyMissing(file, "is encrypted with keys that are not in the key file");
  return { macKey, identities: encryption.identities };
}

/** Throws `PLAIN_REFUSED` for a file that is not encrypted, unless such files are accepted. */
export function requireEncrypted(file: string, encryption: StoreEncryption | undefined): void {
  if (encryption === undefined || encryption.acceptPlain) return;
  throw new CairnError(
    "PLAIN_REFUSED",
    `${file} is not encrypted, so nothing shows that a node of this cluster wrote it.`,
    'If it is from before the cluster had encryption, add "accept-plain?": true to encryption, or --accept-plain to the command, until such files have been removed. Otherwise, remove it.',
  );
}

function keyMissing(file: string, what: string): CairnError {
  return new CairnError(
    "KEY_MISSING",
    `${file} ${what}.`,
    "Set encryption of the checkpointer, of cairn/tx-log as well if the log is read from a backup, or --key-file of the command, to a key file with an identity with which the file was written, and restart the node, which reads it when it starts. Every node of a cluster needs the same identities. If that identity was lost, nothing can read the file: move it out of the store.",
  );
}

/** Returns the text that the MACs authenticate. The log's id is at its end, because it may contain any character. */
function signedText({ name, log, bytes, sha256 }: Omit<SealedHeader, "format" | "macs">): string {
  return [FORMAT, name, bytes, sha256, log ?? ""].join("\n");
}

async function decryptAll(encrypted: Buffer, identities: readonly Uint8Array[]): Promise<Buffer> {
  const content = Buffer.allocUnsafeSlow(encrypted.length);
  const source = decrypted(chunkSource(Readable.from([encrypted])), identities);
  let length = 0;
  for (;;) {
    const end = Math.min(length + SLICE_BYTES, content.length);
    const got = await source.fill(content.subarray(length, end));
    length += got;
    if (got < SLICE_BYTES) return content.subarray(0, length);
    await setImmediate();
  }
}

/** Returns the SHA-256 of content that may be large, as lower-case hexadecimal digits. */
export async function sha256Of(content: Buffer): Promise<string> {
  const slice = new TimeSlice();
  const hash = createHash("sha256");
  for (let at = 0; at < content.length; at += SLICE_BYTES) {
    hash.update(content.subarray(at, at + SLICE_BYTES));
    await slice.yieldIfOver();
  }
  return hash.digest("hex");
}
