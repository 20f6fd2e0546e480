import { createHash } from "node:crypto";
import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import { join } from "node:path";
import { pipeline, Readable } from "node:stream";
import { createGzip } from "node:zlib";
import { CairnError, checkTable, checkTableBytes, systemErrorCode } from "@cairn/kv/tables";
import { ageWriter } from "../../encryption/age-payload.ts";
import type { Manifest } from "../../store/checkpoint.ts";
import { PIECE_BYTES, PieceMemory } from "../piece-memory.ts";
import { BLOCK, END_OF_ARCHIVE, paddingOf, writeHeader } from "../tar-format.ts";
import { SLICE_BYTES, Throttle } from "./throttle.ts";

export interface PackedFiles {
  readonly dir: string;
  /** The names of regular files, in archive order. */
  readonly names: readonly string[];
  /** The shared memory of a {@link Throttle}. If it is absent, the rate is not limited. */
  readonly throttle?: Int32Array | undefined;
  /** Those of `names` that are LevelDB tables. Their blocks are compared with their checksums during packing. */
  readonly tables: ReadonlySet<string>;
}

export interface ArchiveOrder extends PackedFiles {
  readonly compression: "none" | "gzip";
  /** The recipients to which the archive is encrypted. If it is absent, the archive is not encrypted. */
  readonly recipients?: readonly Uint8Array[] | undefined;
}

/** The content of an archive, known once the archive has been read to its end. */
export interface PackedArchive {
  /** The size of the archive as stored, after compression, in bytes. */
  readonly bytes: number;
  /** The files in archive order. Digests are in lower-case hexadecimal. */
  readonly files: Manifest["files"];
}

/** The passes over each byte: reading it, checking the table's checksum, and computing the file's digest. */
const READING_PASSES = 3;

/** Returns how often the packing thread processes each byte: it encrypts the archive if requested, and writes it. */
export function packingPasses({ recipients }: ArchiveOrder): number {
  return recipients === undefined ? 1 : 2;
}

/** A piece of a plain tar archive. It is valid until the next one is requested. */
export interface TarPiece {
  /** The memory of the piece, which begins with it. */
  readonly memory: ArrayBuffer;
  readonly bytes: number;
  /** The file that ends with the piece. */
  readonly ended?: Manifest["files"][number];
}

type Pieces = AsyncIterable<Buffer>;

/**
 * Reads files as the pieces of a tar archive. The memory of each piece is taken from `memory` and returned by the
 * receiver. Reads synchronously, so it is meant for a worker thread, or for small amounts of data.
 */
export async function* tarPieces(
  { dir, names, tables, throttle: shared }: PackedFiles,
  memory: PieceMemory,
): AsyncGenerator<TarPiece, void, undefined> {
  const throttle = new Throttle(shared, READING_PASSES);
  const pause = async (_ms: number, bytes: number): Promise<void> => throttle.pause(bytes);
  for (const name of names) {
    const path = join(dir, name);
    const file = openPlain(path, name);
    try {
      const { size } = fstatSync(file);
      const isTable = tables.has(name);
      // A table that is larger than a piece is read twice, because its blocks do not end where pieces do.
      if (isTable && size > PIECE_BYTES) await checkTable(path, pause);
      const digest = createHash("sha256");
      let at = 0;
      do {
        // Header and padding are sent with the content, because each would otherwise cost a write.
        const head = at === 0 ? BLOCK : 0;
        const length = Math.min(PIECE_BYTES, size - at);
        const last = at + length === size;
        const taken = await memory.take();
        const piece = Buffer.from(taken, 0, head + length + (last ? paddingOf(size) : 0));
        const content = piece.subarray(head, head + length);
        if (head > 0) writeHeader(piece, name, size);
        readFully(file, content, name, throttle);
        piece.fill(0, head + length);
        if (isTable && length === size) checkTableBytes(path, content, (bytes) => throttle.pause(bytes));
        throttle.slices(content, (slice) => digest.update(slice));
        at += length;
        const ended = last ? { ended: { name, bytes: size, sha256: digest.digest("hex") } } : {};
        yield { memory: taken, bytes: piece.length, ...ended };
      } while (at < size);
    } finally {
      closeSync(file);
    }
  }
  const end = await memory.take();
  Buffer.from(end, 0, END_OF_ARCHIVE).fill(0);
  yield { memory: end, bytes: END_OF_ARCHIVE };
}

/** Compresses and encrypts plain pieces if requested, and returns the size of the result and the files. */
export async function* archivePieces(
  plain: AsyncIterable<TarPiece>,
  order: ArchiveOrder,
): AsyncGenerator<Buffer, PackedArchive, undefined> {
  const { compression, recipients } = order;
  const throttle = new Throttle(order.throttle, packingPasses(order));
  const files: PackedArchive["files"] = [];
  async function* contents(): AsyncGenerator<Buffer, void, undefined> {
    for await (const { memory, bytes: length, ended } of plain) {
      if (ended !== undefined) files.push(ended);
      yield Buffer.from(memory, 0, length);
    }
  }
  const packed = compression === "gzip" ? gzipped(contents()) : contents();
  let bytes = 0;
  for await (const piece of recipients === undefined ? packed : encrypted(packed, recipients, throttle)) {
    bytes += piece.length;
    yield piece;
  }
  return { bytes, files };
}

/** Packs on this thread, for archives that are too small for worker threads. */
export async function* archiveHere(
  order: ArchiveOrder,
  onProgress: (bytes: number) => void,
): AsyncGenerator<Buffer, PackedArchive, undefined> {
  async function* plain(): AsyncGenerator<TarPiece, void, undefined> {
    const memory = new PieceMemory(1);
    let done = 0;
    for await (const piece of tarPieces(order, memory)) {
      done += piece.bytes;
      onProgress(done);
      yield piece;
      memory.put(piece.memory);
    }
  }
  const pieces = archivePieces(plain(), order);
  try {
    let next = await pieces.next();
    // The piece is copied, because the reader may keep it but the memory is reused.
    for (; next.done !== true; next = await pieces.next()) yield Buffer.from(next.value);
    return next.value;
  } finally {
    // Ends the generator, which would otherwise leave the file that it is reading open.
    await pieces.return({ bytes: 0, files: [] });
  }
}

/** Encrypts pieces in the age format. Each encrypted piece is in the same memory as the previous one. */
async function* encrypted(
  pieces: Pieces,
  recipients: readonly Uint8Array[],
  throttle: Throttle,
): AsyncGenerator<Buffer, void, undefined> {
  const writer = ageWriter(recipients);
  let memory = Buffer.alloc(0);
  const gather = (parts: readonly Buffer[]): Buffer => {
    const length = parts.reduce((sum, part) => sum + part.length, 0);
    if (memory.length < length) memory = Buffer.alloc(length);
    let at = 0;
    for (const part of parts) at += part.copy(memory, at);
    return memory.subarray(0, length);
  };
  // The head waits for the first content: if storing the head failed, nothing would close the files.
  let parts = [writer.head];
  for await (const piece of pieces) {
    throttle.slices(piece, (slice) => parts.push(...writer.update(slice)));
    if (parts.length > 0) yield gather(parts);
    parts = [];
  }
  yield gather([...parts, ...writer.end()]);
}

function gzipped(plain: Pieces): Pieces {
  // LevelDB has already compressed its tables, so the fastest compression level achieves nearly the same size as any
  // other. Errors from the source reach the reader through the destroyed stream, so the callback ignores them.
  const copies = async function* (): AsyncGenerator<Buffer> {
    for await (const piece of plain) yield Buffer.from(piece);
  };
  return pipeline(Readable.from(copies(), { objectMode: false }), createGzip({ level: 1 }), () => undefined);
}

function openPlain(path: string, name: string): number {
  let file;
  try {
    // Without O_NONBLOCK, opening a pipe would wait for a writer.
    file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === "ELOOP") throw notPlain(name);
    if (code === "ENOENT") throw changed(name, "was removed");
    throw error;
  }
  if (fstatSync(file).isFile()) return file;
  closeSync(file);
  throw notPlain(name);
}

function readFully(file: number, target: Buffer, name: string, throttle: Throttle): void {
  for (let at = 0; at < target.length;) {
    const bytesRead = readSync(file, target, at, Math.min(SLICE_BYTES, target.length - at), null);
    if (bytesRead === 0) throw changed(name, "was truncated");
    at += bytesRead;
    throttle.pause(bytesRead);
  }
}

function changed(name: string, how: string): CairnError {
  return new CairnError(
    "CHECKPOINT_INCOMPLETE",
    `${name} ${how} while it was being packed.`,
    "Find the program that modifies the captured files, and stop it: they must not change. The next checkpoint starts afresh.",
  );
}

export function notPlain(name: string): CairnError {
  return new CairnError(
    "CHECKPOINT_CORRUPT",
    `The capture holds ${JSON.stringify(name)}, which is not a regular file with a plain name.`,
    "Remove it from the captured directory: a checkpoint contains only regular files, whose names have at most 100 letters, digits, dots, dashes and underscores.",
  );
}
