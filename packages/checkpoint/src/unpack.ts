import { createHash } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { pipeline, Readable } from "node:stream";
import { createGunzip } from "node:zlib";
import { CairnError, diskError, systemErrorCode } from "@cairn/kv";
import { ARCHIVE_FORMATS } from "./checkpoint.ts";
import type { Manifest } from "./checkpoint.ts";
import { byteReader } from "./byte-reader.ts";
import type { ByteReader } from "./byte-reader.ts";
import { BLOCK, paddingOf, readHeader } from "./tar-format.ts";
import { fileWriter } from "./write-files.ts";
import type { FileWriter } from "./write-files.ts";
import { syncFolder } from "./stores/write-file.ts";

/** How to unpack. */
export interface UnpackOptions {
  /** Called now and then with the bytes of the archive read so far. */
  readonly onProgress?: (bytes: number) => void;
  readonly signal?: AbortSignal;
}

/**
 * Writes the files of an archive into `dir` (made by it), checking everything against the manifest while it streams by.
 * `CHECKPOINT_CORRUPT` for anything that the manifest does not say, `CHECKPOINT_INCOMPLETE` for what is missing, `DISK_FULL`;
 * then `dir` holds leftovers that the caller removes. Never writes more than the manifest says. Afterwards all is flushed.
 */
export async function unpackArchive(
  archive: Readable,
  dir: string,
  manifest: Manifest,
  options: UnpackOptions = {},
): Promise<void> {
  try {
    await mkdir(dir, { recursive: true });
    await receive(archive, dir, manifest, options);
    await syncFolder(dir);
  } catch (error) {
    options.signal?.throwIfAborted();
    throw diskError(error, dir);
  } finally {
    archive.destroy();
  }
}

async function receive(
  archive: Readable,
  dir: string,
  manifest: Manifest,
  { onProgress, signal }: UnpackOptions,
): Promise<void> {
  const { archive: expected, format } = manifest;
  const digest = createHash("sha256");
  let bytes = 0;

  async function* checked(): AsyncGenerator<Buffer, void, undefined> {
    for await (const chunk of archive) {
      signal?.throwIfAborted();
      bytes += chunk.length;
      if (bytes > expected.bytes)
        throw corrupt(manifest, `the archive is longer than ${expected.bytes} bytes`);
      digest.update(chunk);
      onProgress?.(bytes);
      yield chunk;
    }
    if (bytes < expected.bytes)
      throw incomplete(manifest, `the archive ends after ${bytes} of ${expected.bytes} bytes`);
  }

  const plain = format.archive === ARCHIVE_FORMATS.gzip ? gunzipped(checked(), manifest) : checked();
  const absent = await receiveFiles(byteReader(plain), dir, manifest);
  if (digest.digest("hex") !== expected.sha256)
    throw corrupt(manifest, "the archive's SHA-256 is another one");
  // Told last: an archive with other bytes is damaged, whatever seems to be missing then.
  if (absent !== undefined) throw incomplete(manifest, `${absent} is not in its archive`);
}

async function* gunzipped(
  source: AsyncIterable<Buffer>,
  manifest: Manifest,
): AsyncGenerator<Buffer, void, undefined> {
  const gunzip = createGunzip({ chunkSize: 262_144 });
  try {
    yield* pipeline(Readable.from(source, { objectMode: false }), gunzip, () => undefined);
  } catch (error) {
    if (systemErrorCode(error)?.startsWith("Z_") === true) {
      throw corrupt(manifest, "the archive cannot be decompressed", error);
    }
    throw error;
  }
}

/** Answers the name of a file that did not come, if there is one. */
async function receiveFiles(
  reader: ByteReader,
  dir: string,
  manifest: Manifest,
): Promise<string | undefined> {
  const writer = fileWriter(dir);
  let absent: string | undefined;
  try {
    absent = await receiveEntries(reader, writer, manifest);
  } catch (error) {
    // The caller removes the directory: nothing may write to it any more then.
    await writer.finish().catch(() => undefined);
    throw error;
  }
  await writer.finish();
  return absent;
}

async function receiveEntries(
  reader: ByteReader,
  writer: FileWriter,
  manifest: Manifest,
): Promise<string | undefined> {
  const missing = new Map(manifest.files.map((file) => [file.name, file]));
  for (;;) {
    const block = await reader.exactly(BLOCK);
    const entry = block === undefined ? { fault: "it has no end" } : readHeader(block);
    if (entry === "end") break;
    if ("fault" in entry) throw corrupt(manifest, `in its archive ${entry.fault}`);
    const file = missing.get(entry.name);
    if (file === undefined) {
      const name = JSON.stringify(entry.name);
      throw corrupt(manifest, `its archive holds ${name}, which is not in the manifest or there twice`);
    }
    const { name, bytes } = file;
    if (entry.bytes !== bytes) throw corrupt(manifest, `${name} has ${entry.bytes} bytes, not ${bytes}`);
    missing.delete(name);
    const next = async (count: number): Promise<Buffer> => {
      const piece = await reader.upTo(count);
      if (piece === undefined) throw incomplete(manifest, `its archive ends within ${name}`);
      return piece;
    };
    await writer.write(name, bytes, next, (sha256) => {
      if (sha256 !== file.sha256) throw corrupt(manifest, `the SHA-256 of ${name} is another one`);
    });
    const padding = await reader.exactly(paddingOf(bytes));
    if (padding === undefined) throw incomplete(manifest, `its archive ends after ${name}`);
  }
  await expectZeros(reader, manifest);
  return missing.keys().next().value;
}

async function expectZeros(reader: ByteReader, manifest: Manifest): Promise<void> {
  for (;;) {
    const rest = await reader.upTo(BLOCK);
    if (rest === undefined) return;
    if (rest.some((byte) => byte !== 0)) throw corrupt(manifest, "something follows the end of its archive");
  }
}

const HINT = "An older checkpoint is tried next; remove this one, or copy it again from where it is whole.";

function corrupt(manifest: Manifest, why: string, cause?: unknown): CairnError {
  return new CairnError("CHECKPOINT_CORRUPT", `${manifest.archive.name} is damaged: ${why}.`, {
    hint: HINT,
    cause,
  });
}

function incomplete(manifest: Manifest, why: string): CairnError {
  return new CairnError("CHECKPOINT_INCOMPLETE", `${manifest.archive.name} is incomplete: ${why}.`, {
    hint: HINT,
  });
}
