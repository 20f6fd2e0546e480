import { createHash } from "node:crypto";
import { mkdir, open } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { pipeline, Readable } from "node:stream";
import { createGunzip } from "node:zlib";
import { CairnError, systemErrorCode } from "@cairn/kv";
import { ARCHIVE_FORMATS } from "./checkpoint.ts";
import type { Manifest } from "./checkpoint.ts";
import { byteReader } from "./byte-reader.ts";
import type { ByteReader } from "./byte-reader.ts";
import { diskError } from "./disk-errors.ts";
import { BLOCK, paddingOf, readHeader } from "./tar-format.ts";
import { syncFolder } from "./stores/write-file.ts";

/** How to unpack. */
export interface UnpackOptions {
  /** Called now and then with the bytes of the archive read so far. */
  readonly onProgress?: (bytes: number) => void;
  readonly signal?: AbortSignal;
}

type ExpectedFile = Manifest["files"][number];

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
  await receiveFiles(byteReader(plain), dir, manifest);
  if (digest.digest("hex") !== expected.sha256)
    throw corrupt(manifest, "the archive's SHA-256 is another one");
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

async function receiveFiles(reader: ByteReader, dir: string, manifest: Manifest): Promise<void> {
  const missing = new Map(manifest.files.map((file) => [file.name, file]));
  for (;;) {
    const block = await reader.exactly(BLOCK);
    const entry = block === undefined ? { fault: "it has no end" } : readHeader(block);
    if (entry === "end") break;
    if ("fault" in entry) throw corrupt(manifest, `in its archive ${entry.fault}`);
    const file = missing.get(entry.name);
    if (file === undefined) {
      throw corrupt(
        manifest,
        `its archive holds ${JSON.stringify(entry.name)}, which is not in the manifest or there twice`,
      );
    }
    if (entry.bytes !== file.bytes)
      throw corrupt(manifest, `${file.name} has ${entry.bytes} bytes, not ${file.bytes}`);
    missing.delete(entry.name);
    await receiveFile(reader, dir, file, manifest);
  }
  await expectZeros(reader, manifest);
  const [absent] = missing.keys();
  if (absent !== undefined) throw incomplete(manifest, `${absent} is not in its archive`);
}

async function receiveFile(
  reader: ByteReader,
  dir: string,
  file: ExpectedFile,
  manifest: Manifest,
): Promise<void> {
  const handle = await open(join(dir, file.name), "wx");
  let writing: Promise<void> = Promise.resolve();
  try {
    const digest = createHash("sha256");
    for (let left = file.bytes; left > 0;) {
      const chunk = await reader.upTo(left);
      if (chunk === undefined) throw incomplete(manifest, `its archive ends within ${file.name}`);
      left -= chunk.length;
      await writing;
      writing = writeAll(handle, chunk);
      // Hashed while the disk is busy with the same bytes.
      digest.update(chunk);
    }
    await writing;
    if (digest.digest("hex") !== file.sha256)
      throw corrupt(manifest, `the SHA-256 of ${file.name} is another one`);
    const padding = await reader.exactly(paddingOf(file.bytes));
    if (padding === undefined) throw incomplete(manifest, `its archive ends after ${file.name}`);
    await handle.sync();
  } finally {
    await writing.catch(() => undefined);
    await handle.close();
  }
}

async function writeAll(handle: FileHandle, chunk: Buffer): Promise<void> {
  for (let at = 0; at < chunk.length;) {
    at += (await handle.write(chunk, at, chunk.length - at)).bytesWritten;
  }
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
