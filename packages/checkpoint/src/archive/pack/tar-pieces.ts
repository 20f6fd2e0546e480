import { createHash } from "node:crypto";
import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import { join } from "node:path";
import { CairnError, checkTable, checkTableBytes, systemErrorCode } from "@cairn/kv/tables";
import type { Manifest } from "../../store/checkpoint.ts";
import { Pace, SLICE } from "../pace.ts";
import { PIECE } from "../piece-memory.ts";
import type { PieceMemory } from "../piece-memory.ts";
import { BLOCK, END_OF_ARCHIVE, paddingOf, writeHeader } from "../tar-format.ts";

/** What goes into an archive. */
export interface PackedFiles {
  readonly dir: string;
  /** Of plain files, in the archive's order. */
  readonly names: readonly string[];
  /** What {@link Pace} shares with the thread that others wait for; without it nobody does. */
  readonly pace?: Int32Array;
  /** Those that are LevelDB's tables, to be compared with their checksums on the way. */
  readonly tables: ReadonlySet<string>;
}

/**
 * The pieces of a tar archive, each in one of `memory`'s, which the receiver gives back; what was packed is pushed to `files`.
 * Reads without giving way to anything else: for a thread of its own.
 */
export async function* tarPieces(
  { dir, names, tables, pace: shared }: PackedFiles,
  memory: PieceMemory,
  files: Manifest["files"],
): AsyncGenerator<Buffer<ArrayBuffer>, void, undefined> {
  // Read, compared with its checksums, and its digest computed.
  const pace = new Pace(shared, 3);
  const rest = async (_ms: number, bytes: number): Promise<void> => pace.between(bytes);
  for (const name of names) {
    const path = join(dir, name);
    const file = openPlain(path, name);
    try {
      const { size } = fstatSync(file);
      const isTable = tables.has(name);
      // Read twice then: its blocks do not end where pieces do.
      if (isTable && size > PIECE) await checkTable(path, rest);
      const digest = createHash("sha256");
      let at = 0;
      do {
        // Header and padding travel with the content: small pieces would each cost a write.
        const head = at === 0 ? BLOCK : 0;
        const length = Math.min(PIECE, size - at);
        const tail = at + length === size ? paddingOf(size) : 0;
        const piece = Buffer.from(await memory.take(), 0, head + length + tail);
        const content = piece.subarray(head, head + length);
        if (head > 0) writeHeader(piece, name, size);
        fill(file, content, name, pace);
        piece.fill(0, head + length);
        if (isTable && length === size) await checkTableBytes(path, content, rest);
        pace.slices(content, (slice) => digest.update(slice));
        at += length;
        yield piece;
      } while (at < size);
      files.push({ name, bytes: size, sha256: digest.digest("hex") });
    } finally {
      closeSync(file);
    }
  }
  yield Buffer.from(await memory.take(), 0, END_OF_ARCHIVE).fill(0);
}

function openPlain(path: string, name: string): number {
  let file;
  try {
    // Opening a pipe would wait for whoever writes to it.
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

function fill(file: number, target: Buffer, name: string, pace: Pace): void {
  for (let at = 0; at < target.length;) {
    const bytesRead = readSync(file, target, at, Math.min(SLICE, target.length - at), null);
    if (bytesRead === 0) throw changed(name, "became shorter");
    at += bytesRead;
    pace.between(bytesRead);
  }
}

function changed(name: string, how: string): CairnError {
  return new CairnError("CHECKPOINT_INCOMPLETE", `${name} ${how} while it was packed.`, {
    hint: "The captured files must not change, so look for another program that touches them; the next checkpoint begins anew.",
  });
}

/** The error for something in a capture that cannot be part of an archive. */
export function notPlain(name: string): CairnError {
  return new CairnError(
    "CHECKPOINT_CORRUPT",
    `The capture holds ${JSON.stringify(name)}, which is not a plain file.`,
    {
      hint: "A checkpoint consists of plain files only; remove it from the captured directory.",
    },
  );
}
