import { createCipheriv, hkdfSync, randomBytes } from "node:crypto";
import { AgeError, createHeader, headerSize, MAX_HEADER_BYTES, openHeader } from "./age-header.ts";
import { CIPHER, KEY_BYTES, TAG_BYTES, authenticated } from "./x25519.ts";

/**
 * The payload of a file in the age format: chunks of 64 KiB, each encrypted and authenticated by itself. The nonce of a
 * chunk contains its number, and whether it is the last one, so that no chunk can be moved, and none removed.
 */

const CHUNK_BYTES = 64 * 1024;
const SEALED_BYTES = CHUNK_BYTES + TAG_BYTES;
const NONCE_BYTES = 16;

export interface ByteSource {
  /** Fills `target`. Returns the number of bytes read, which is smaller than the length of `target` only at the end. */
  fill(target: Buffer): Promise<number>;
}

/** Encrypts one file, piece by piece: `head` is its beginning. The caller passes on what each method returns, in order. */
export function ageWriter(recipients: readonly Uint8Array[]) {
  const { fileKey, header } = createHeader(recipients);
  const salt = randomBytes(NONCE_BYTES);
  const head: Buffer = Buffer.concat([header, salt]);
  const key = payloadKey(fileKey, salt);
  const nonce = Buffer.alloc(12);
  let chunks = 0;
  /** The last bytes, which are encrypted once it is known whether more follow. */
  const held = Buffer.alloc(CHUNK_BYTES);
  let heldBytes = 0;

  function seal(chunk: Buffer, isLast: boolean): Buffer[] {
    chunkNonce(nonce, chunks++, isLast);
    const cipher = createCipheriv(CIPHER, key, nonce, { authTagLength: TAG_BYTES });
    const sealed = cipher.update(chunk);
    cipher.final();
    return [sealed, cipher.getAuthTag()];
  }

  return {
    head,
    /** Encrypts more of the content. Returns the encrypted parts that are complete. */
    update(content: Buffer): Buffer[] {
      const parts: Buffer[] = [];
      let at = 0;
      while (at < content.length) {
        if (heldBytes === CHUNK_BYTES) {
          parts.push(...seal(held, false));
          heldBytes = 0;
        }
        // A chunk that does not have to be put together is not copied.
        if (heldBytes === 0 && content.length - at > CHUNK_BYTES) {
          parts.push(...seal(content.subarray(at, at + CHUNK_BYTES), false));
          at += CHUNK_BYTES;
          continue;
        }
        const taken = content.copy(held, heldBytes, at, at + CHUNK_BYTES - heldBytes);
        heldBytes += taken;
        at += taken;
      }
      return parts;
    },
    end: (): Buffer[] => seal(held.subarray(0, heldBytes), true),
  };
}

export function encryptedSize(bytes: number, recipients: number): number {
  return (
    headerSize(recipients) + NONCE_BYTES + bytes + Math.max(1, Math.ceil(bytes / CHUNK_BYTES)) * TAG_BYTES
  );
}

/** Decrypts a file. If it was changed, is truncated or has other recipients, the source throws {@link AgeError}. */
export function decrypted(source: ByteSource, identities: readonly Uint8Array[]): ByteSource {
  return chunkSource(openChunks(source, identities));
}

/** Reads the bytes of a file from `start` up to but not including `end`. */
export type ReadRange = (start: number, end: number) => Promise<Buffer>;

/**
 * Opens an encrypted file of `size` bytes, of whose content parts are then read; chunks are authenticated with their
 * numbers, so that none can be moved. Throws {@link AgeError}, as reads do, and what `read` throws.
 */
export async function openAgeRanges(
  read: ReadRange,
  size: number,
  identities: readonly Uint8Array[],
): Promise<{ readonly bytes: number; readonly read: ReadRange }> {
  const beginning = await read(0, Math.min(size, MAX_HEADER_BYTES + NONCE_BYTES));
  const { key, start: begin } = openBeginning(beginning, identities);
  const chunks = Math.max(1, Math.ceil((size - begin) / SEALED_BYTES));
  return {
    bytes: Math.max(0, size - begin - chunks * TAG_BYTES),
    async read(start, end) {
      const first = Math.floor(start / CHUNK_BYTES);
      const last = Math.min(chunks, Math.ceil(end / CHUNK_BYTES));
      const from = begin + first * SEALED_BYTES;
      const sealed = await read(from, Math.min(size, begin + last * SEALED_BYTES));
      const content: Buffer[] = [];
      for (let chunk = first; chunk < last; chunk += 1) {
        const nonce = chunkNonce(Buffer.alloc(12), chunk, chunk === chunks - 1);
        const at = (chunk - first) * SEALED_BYTES;
        content.push(openChunk(key, nonce, sealed.subarray(at, at + SEALED_BYTES)));
      }
      const before = first * CHUNK_BYTES;
      return Buffer.concat(content).subarray(start - before, end - before);
    },
  };
}

function openBeginning(
  beginning: Buffer,
  identities: readonly Uint8Array[],
): { readonly key: Uint8Array; readonly start: number } {
  const { fileKey, bytes } = openHeader(beginning, identities);
  const salt = beginning.subarray(bytes, bytes + NONCE_BYTES);
  if (salt.length < NONCE_BYTES) throw new AgeError("header", "it ends after its age header");
  return { key: payloadKey(fileKey, salt), start: bytes + NONCE_BYTES };
}

export function chunkSource(chunks: AsyncIterable<Uint8Array>): ByteSource {
  const iterator = chunks[Symbol.asyncIterator]();
  let held: Uint8Array = new Uint8Array(0);
  return {
    async fill(target) {
      let at = 0;
      while (at < target.length) {
        if (held.length === 0) {
          const next = await iterator.next();
          if (next.done === true) break;
          held = next.value;
        }
        const taken = held.subarray(0, target.length - at);
        target.set(taken, at);
        at += taken.length;
        held = held.subarray(taken.length);
      }
      return at;
    },
  };
}

/** Yields the content chunk by chunk, each after it has been authenticated. */
async function* openChunks(
  source: ByteSource,
  identities: readonly Uint8Array[],
): AsyncGenerator<Buffer, void, undefined> {
  const start = Buffer.alloc(MAX_HEADER_BYTES + NONCE_BYTES);
  const beginning = start.subarray(0, await source.fill(start));
  const { key, start: begin } = openBeginning(beginning, identities);
  let rest = beginning.subarray(begin);
  const fill = async (target: Buffer): Promise<number> => {
    const taken = rest.copy(target);
    rest = rest.subarray(taken);
    return taken === target.length ? taken : taken + (await source.fill(target.subarray(taken)));
  };

  const nonce = Buffer.alloc(12);
  let [current, next] = [Buffer.alloc(SEALED_BYTES), Buffer.alloc(SEALED_BYTES)];
  let length = await fill(current);
  for (let chunk = 0; ; chunk++) {
    // Whether a chunk is the last one shows only in what follows it.
    const following = length === SEALED_BYTES ? await fill(next) : 0;
    const isLast = following === 0;
    const content = openChunk(key, chunkNonce(nonce, chunk, isLast), current.subarray(0, length));
    // Otherwise, there would be several encryptions of the same content.
    if (content.length === 0 && chunk > 0) throw new AgeError("payload", "its last chunk is empty");
    if (content.length > 0) yield content;
    if (isLast) return;
    [current, next] = [next, current];
    length = following;
  }
}

function openChunk(key: Uint8Array, nonce: Buffer, sealed: Buffer): Buffer {
  if (sealed.length < TAG_BYTES) throw new AgeError("payload", "its last chunk is missing or truncated");
  const content = authenticated(key, nonce, sealed);
  if (content !== undefined) return content;
  throw new AgeError("payload", "an encrypted chunk was changed, moved or truncated");
}

/** Writes a chunk's nonce into `nonce`: 11 bytes for the number, and one that marks the last chunk. */
function chunkNonce(nonce: Buffer, chunk: number, isLast: boolean): Buffer {
  nonce.writeUIntBE(chunk, 5, 6);
  nonce[11] = isLast ? 1 : 0;
  return nonce;
}

function payloadKey(fileKey: Uint8Array, salt: Uint8Array): Uint8Array {
  return new Uint8Array(hkdfSync("sha256", fileKey, salt, "payload", KEY_BYTES));
}
