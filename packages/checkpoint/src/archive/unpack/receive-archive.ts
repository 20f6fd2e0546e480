import { createHash } from "node:crypto";
import { close, fsync, openSync, readSync, writeSync } from "node:fs";
import { join } from "node:path";
import { pipeline, Readable } from "node:stream";
import { promisify } from "node:util";
import { createGunzip } from "node:zlib";
import { systemErrorCode } from "@cairn/kv/threads";
import { AgeError } from "../../encryption/age-header.ts";
import { type ByteSource, chunkSource, decrypted } from "../../encryption/age-payload.ts";
import { archivePacking } from "../../store/archive-format.ts";
import type { Manifest } from "../../store/checkpoint.ts";
import { PIECE_BYTES, PieceMemory } from "../piece-memory.ts";
import { BLOCK, END_OF_ARCHIVE, paddingOf, readHeader } from "../tar-format.ts";
import { corruptArchive, incompleteArchive } from "../archive-errors.ts";

/** A piece of a file's content, at the beginning of `memory`. */
export interface FilePiece {
  readonly name: string;
  readonly memory: ArrayBuffer;
  readonly bytes: number;
  /** For a small or empty file, both `first` and `last` are true. */
  readonly first: boolean;
  readonly last: boolean;
}

export interface FileSink {
  /** Returns memory for the next piece, after waiting until some is free; {@link take} gives it back. */
  memory(): Promise<ArrayBuffer>;
  /** Takes a piece. The piece may be written later; if that fails, a later call throws the error. */
  take(piece: FilePiece): Promise<void>;
  /** Waits until all files are durable. Throws the first error. */
  end(): Promise<void>;
}

/** A failure to read an archive's file, which the store that owns the file can explain. */
export class ReadFailure extends Error {}

/** Returns the rest of the content of the open file `file`. Reads synchronously. Throws {@link ReadFailure}. */
export function fileSource(file: number): ByteSource {
  return {
    fill(target) {
      let at = 0;
      try {
        for (let got = 1; got > 0 && at < target.length; at += got)
          got = readSync(file, target, at, target.length - at, null);
      } catch (error) {
        throw new ReadFailure("", { cause: error });
      }
      return Promise.resolve(at);
    },
  };
}

export interface Receiving {
  readonly manifest: Manifest;
  readonly identities: readonly Uint8Array[];
  readonly source: ByteSource;
  readonly sink: FileSink;
  /** Called occasionally with the number of bytes of the archive read so far. */
  readonly onProgress: (bytes: number) => void;
}

const CHUNK_BYTES = 256 * 1024;

/**
 * Unpacks an archive into `sink`, and verifies it while streaming. Throws `CHECKPOINT_CORRUPT` for content that is not
 * in the manifest and `CHECKPOINT_INCOMPLETE` for missing content. Never writes more than the manifest lists.
 */
export async function receiveArchive(receiving: Receiving): Promise<void> {
  const { manifest, sink } = receiving;
  const raw = ofExpectedLength(receiving);
  try {
    const { compression, encrypted } = archivePacking(manifest);
    const packed = encrypted ? unsealed(raw, receiving) : raw;
    await receiveEntries(compression === "gzip" ? gunzipped(packed, manifest) : packed, sink, manifest);
  } catch (error) {
    // The caller removes the directory, so nothing may write to it any longer.
    await sink.end().catch(() => undefined);
    throw error;
  }
  await sink.end();
}

/** Returns the archive unchanged, as a source that throws if the length differs from the one in the manifest. */
function ofExpectedLength({ manifest, source, onProgress }: Receiving): ByteSource {
  const expected = manifest.archive.bytes;
  let bytes = 0;
  return {
    async fill(target) {
      const got = await source.fill(target);
      bytes += got;
      if (bytes > expected) throw corruptArchive(manifest, `the archive is longer than ${expected} bytes`);
      if (got < target.length && bytes < expected)
        throw incompleteArchive(manifest, `the archive ends after ${bytes} of ${expected} bytes`);
      onProgress(bytes);
      return got;
    },
  };
}

function unsealed(source: ByteSource, { identities, manifest }: Receiving): ByteSource {
  return failingAs(decrypted(source, identities), (error) =>
    error instanceof AgeError ? corruptArchive(manifest, error.message, error) : error,
  );
}

function gunzipped(source: ByteSource, manifest: Manifest): ByteSource {
  const gunzip = createGunzip({ chunkSize: CHUNK_BYTES });
  const content = Readable.from(chunksOf(source), { objectMode: false });
  return failingAs(chunkSource(pipeline(content, gunzip, () => undefined)), (error) =>
    systemErrorCode(error)?.startsWith("Z_") === true
      ? corruptArchive(manifest, "the archive cannot be decompressed", error)
      : error,
  );
}

function failingAs(source: ByteSource, errorOf: (error: unknown) => unknown): ByteSource {
  return {
    fill: async (target) =>
      await source.fill(target).catch((error: unknown) => {
        throw errorOf(error);
      }),
  };
}

async function* chunksOf(source: ByteSource): AsyncGenerator<Buffer, void, undefined> {
  for (;;) {
    const chunk = Buffer.allocUnsafeSlow(CHUNK_BYTES);
    const got = await source.fill(chunk);
    if (got > 0) yield chunk.subarray(0, got);
    if (got < CHUNK_BYTES) return;
  }
}

async function receiveEntries(source: ByteSource, sink: FileSink, manifest: Manifest): Promise<void> {
  const missing = new Map(manifest.files.map((file) => [file.name, file]));
  const header = Buffer.alloc(BLOCK);
  for (;;) {
    const whole = (await source.fill(header)) === BLOCK;
    const entry = whole ? readHeader(header) : { fault: "the end marker is missing" };
    if (entry === "end") break;
    if ("fault" in entry) throw corruptArchive(manifest, `in its archive ${entry.fault}`);
    const file = missing.get(entry.name);
    if (file === undefined) {
      const name = JSON.stringify(entry.name);
      throw corruptArchive(
        manifest,
        `its archive holds ${name}, which is not in the manifest, or is in the archive twice`,
      );
    }
    const { name, bytes } = file;
    if (entry.bytes !== bytes)
      throw corruptArchive(manifest, `${name} has ${entry.bytes} bytes, not ${bytes}`);
    missing.delete(name);
    await receiveFile(source, sink, file, manifest);
  }
  await expectZeros(source, manifest);
  const [absent] = missing.keys();
  if (absent !== undefined) throw incompleteArchive(manifest, `${absent} is not in its archive`);
}

async function receiveFile(
  source: ByteSource,
  sink: FileSink,
  { name, bytes, sha256 }: Manifest["files"][number],
  manifest: Manifest,
): Promise<void> {
  const digest = createHash("sha256");
  let at = 0;
  do {
    const length = Math.min(PIECE_BYTES, bytes - at);
    const last = at + length === bytes;
    // The padding is read with the content but not written.
    const room = length + (last ? paddingOf(bytes) : 0);
    const memory = await sink.memory();
    if ((await source.fill(Buffer.from(memory, 0, room))) < room)
      throw incompleteArchive(manifest, `its archive ends within ${name}`);
    digest.update(Buffer.from(memory, 0, length));
    // The file is complete only once the sink has its last piece.
    if (last && digest.digest("hex") !== sha256)
      throw corruptArchive(manifest, `the SHA-256 of ${name} does not match`);
    if (Buffer.from(memory, length, room - length).some((byte) => byte !== 0))
      throw corruptArchive(manifest, `the padding of ${name} is damaged`);
    await sink.take({ name, memory, bytes: length, first: at === 0, last });
    at += length;
  } while (at < bytes);
}

async function expectZeros(source: ByteSource, manifest: Manifest): Promise<void> {
  const rest = Buffer.alloc(END_OF_ARCHIVE);
  for (;;) {
    const got = await source.fill(rest);
    if (rest.subarray(0, got).some((byte) => byte !== 0))
      throw corruptArchive(manifest, "its archive continues after its end");
    if (got < rest.length) return;
  }
}

/** The maximum number of files that are flushed concurrently. A flush consists mostly of waiting. */
const MAX_FLUSHES = 8;
const flush = promisify(fsync);
const closeFile = promisify(close);

type FileWriter = ReturnType<typeof fileWriter>;

/** The writer creates files in `dir` one after the other, and flushes each one while the next ones are written. */
export function fileWriter(dir: string) {
  const running = new Set<Promise<void>>();
  // The first failure of a background flush; it is thrown by the next `begin`, or at the end.
  let failure: { readonly error: unknown } | undefined;
  let current: number | undefined;

  function finish(file: number, whole: boolean): void {
    const work = whole ? flush(file).finally(() => closeFile(file)) : closeFile(file);
    const one = work
      .catch((error: unknown) => {
        failure ??= { error };
      })
      .finally(() => running.delete(one));
    running.add(one);
  }

  async function begin(name: string): Promise<number> {
    while (running.size >= MAX_FLUSHES) await Promise.race(running);
    if (failure !== undefined) throw failure.error;
    return openSync(join(dir, name), "wx");
  }

  return {
    /** Writes a piece. Its memory belongs to the caller again afterwards. */
    async write({ name, memory, bytes, first, last }: FilePiece): Promise<void> {
      if (first) current = await begin(name);
      if (current === undefined) throw new Error(`The first piece of ${name} is missing.`);
      const content = Buffer.from(memory, 0, bytes);
      for (let at = 0; at < bytes;) at += writeSync(current, content, at);
      if (!last) return;
      finish(current, true);
      current = undefined;
    },
    async end(): Promise<void> {
      // A file can be open here only after a failure.
      if (current !== undefined) finish(current, false);
      current = undefined;
      while (running.size > 0) await Promise.race(running);
      if (failure !== undefined) throw failure.error;
    },
  };
}

export function sinkHere(writer: FileWriter): FileSink {
  const memory = new PieceMemory(1);
  return {
    memory: () => memory.take(),
    async take(piece) {
      await writer.write(piece);
      memory.put(piece.memory);
    },
    end: () => writer.end(),
  };
}
