import { createHash } from "node:crypto";
import { pipeline, Readable } from "node:stream";
import { createGzip } from "node:zlib";
import type { Manifest } from "../../store/checkpoint.ts";
import { Pace } from "../pace.ts";
import { PieceMemory } from "../piece-memory.ts";
import { tarPieces } from "./tar-pieces.ts";
import type { PackedFiles } from "./tar-pieces.ts";

/** What to pack, and how. */
export interface ArchiveOrder extends PackedFiles {
  readonly compression: "none" | "gzip";
}

/** What an archive holds; known when it was read to its end. */
export interface PackedArchive {
  /** Of the archive as it is stored, that is after compression. */
  readonly bytes: number;
  readonly sha256: string;
  /** In the order of the archive. Digests, this one and theirs, are lower-case hex. */
  readonly files: Manifest["files"];
}

/** What the thread that puts an archive together does to each byte: computes the digest of the whole, and writes it. */
export const PASSES = 2;

/** The plain tar pieces of an archive on their way; a piece is good until the next is asked for. */
export type Pieces = AsyncIterable<Buffer>;

/** Makes an archive of its plain pieces, and returns what is in it; `files` is full when `plain` has ended. */
export async function* archivePieces(
  plain: Pieces,
  { compression, pace: shared }: ArchiveOrder,
  files: PackedArchive["files"],
): AsyncGenerator<Buffer, PackedArchive, undefined> {
  const digest = createHash("sha256");
  const pace = new Pace(shared, PASSES);
  let bytes = 0;
  for await (const piece of compression === "gzip" ? gzipped(plain) : plain) {
    pace.slices(piece, (slice) => digest.update(slice));
    bytes += piece.length;
    yield piece;
  }
  return { bytes, sha256: digest.digest("hex"), files };
}

function gzipped(plain: Pieces): Pieces {
  // LevelDB has compressed its tables already; the fastest level finds nearly all that is left.
  // Errors of the source reach the reader through the destroyed stream, so the callback has nothing to add.
  return pipeline(
    Readable.from(copied(plain), { objectMode: false }),
    createGzip({ level: 1 }),
    () => undefined,
  );
}

/** A stream takes more than one piece ahead, and a piece is good for one turn only. */
async function* copied(pieces: Pieces): AsyncGenerator<Buffer, void, undefined> {
  for await (const piece of pieces) yield Buffer.from(piece);
}

/** The whole on this thread, for archives that are not worth another one. */
export async function* archiveHere(
  order: ArchiveOrder,
  onProgress: (bytes: number) => void,
): AsyncGenerator<Buffer, PackedArchive, undefined> {
  const files: PackedArchive["files"] = [];
  async function* plain(): AsyncGenerator<Buffer, void, undefined> {
    const memory = new PieceMemory(1);
    let done = 0;
    for await (const piece of tarPieces(order, memory, files)) {
      done += piece.length;
      onProgress(done);
      yield piece;
      memory.giveBack(piece.buffer);
    }
  }
  return yield* archivePieces(plain(), order, files);
}

/** Whom to ask and tell while an archive is written to a file. */
export interface Writing {
  readonly explain: (error: unknown) => unknown;
  readonly signal: AbortSignal | undefined;
  readonly hurry?: AbortSignal | undefined;
  readonly onProgress: (bytes: number) => void;
}
