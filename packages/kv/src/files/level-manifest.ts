import { CairnError, isCairnError } from "../errors/errors.ts";
import { LEVEL_BLOCK_SIZE, LevelRecordReader } from "./level-records.ts";

// The tags of a version edit (db/version_edit.cc of LevelDB; 8 is no longer in use).
const COMPARATOR = 1;
const LOG_NUMBER = 2;
const NEXT_FILE = 3;
const LAST_SEQUENCE = 4;
const COMPACT_POINTER = 5;
const DELETED_FILE = 6;
const NEW_FILE = 7;
const PREVIOUS_LOG_NUMBER = 9;

/** What a LevelDB manifest says once all its version edits are applied. */
export interface LevelManifest {
  readonly comparator: string;
  /** Logs below it hold nothing that is not in a table. */
  readonly logNumber: number;
  /** A log that counts though it is below `logNumber`; always 0 in what LevelDB writes today. */
  readonly previousLogNumber: number;
  /** Above the number of every file that the manifest names. */
  readonly nextFile: number;
  readonly lastSequence: number;
  /** The live tables: file number → bytes. */
  readonly tables: ReadonlyMap<number, number>;
  /** File number → the first and the last key in that table. */
  readonly bounds: ReadonlyMap<number, readonly [first: Uint8Array, last: Uint8Array]>;
  /** File number → the level of that table. */
  readonly levels: ReadonlyMap<number, number>;
  /** Level → the key at which its last compaction ended. It outlives its row, also in the manifest that an opening writes. */
  readonly pointers: ReadonlyMap<number, Uint8Array>;
  /** The offset after the last whole edit; what follows is an edit that was being written. */
  readonly end: number;
}

/** Decodes the bytes of a manifest. `INDEX_CORRUPT` when they are not a whole LevelDB manifest. */
export function decodeLevelManifest(bytes: Uint8Array): LevelManifest {
  const tables = new Map<number, number>();
  const bounds = new Map<number, readonly [Uint8Array, Uint8Array]>();
  const levels = new Map<number, number>();
  const pointers = new Map<number, Uint8Array>();
  let comparator: string | undefined;
  let logNumber: number | undefined;
  let previousLogNumber = 0;
  let nextFile: number | undefined;
  let lastSequence: number | undefined;
  const reader = new LevelRecordReader();
  for (const record of recordsOf(bytes, reader)) {
    const edit = new EditReader(record);
    const added: [level: number, number: number, size: number, bounds: [Uint8Array, Uint8Array]][] = [];
    while (!edit.done) {
      const tag = edit.number();
      if (tag === COMPARATOR) comparator = edit.text();
      else if (tag === LOG_NUMBER) logNumber = edit.number();
      else if (tag === PREVIOUS_LOG_NUMBER) previousLogNumber = edit.number();
      else if (tag === NEXT_FILE) nextFile = edit.number();
      else if (tag === LAST_SEQUENCE) lastSequence = edit.number();
      else if (tag === COMPACT_POINTER) {
        pointers.set(edit.number(), edit.rowKey());
      } else if (tag === DELETED_FILE) {
        edit.number();
        const number = edit.number();
        tables.delete(number);
        bounds.delete(number);
        levels.delete(number);
      } else if (tag === NEW_FILE) {
        added.push([edit.number(), edit.number(), edit.number(), [edit.rowKey(), edit.rowKey()]]);
      } else throw corrupt(`has the unknown tag ${tag}`);
    }
    // A table that moves to another level is deleted and added by one edit: LevelDB deletes first.
    for (const [level, number, size, ends] of added) {
      tables.set(number, size);
      bounds.set(number, ends);
      levels.set(number, level);
    }
  }
  if (logNumber === undefined || nextFile === undefined || lastSequence === undefined) {
    throw corrupt("lacks its log number, next file number or last sequence");
  }
  return {
    comparator: comparator ?? "",
    logNumber,
    previousLogNumber,
    nextFile,
    lastSequence,
    tables,
    bounds,
    levels,
    pointers,
    end: reader.end,
  };
}

/** Every key of a row that a manifest's edits name, those of tables that are gone included: they stay until there is another manifest. */
export function keysNamedIn(bytes: Uint8Array): Uint8Array[] {
  const keys: Uint8Array[] = [];
  for (const record of recordsOf(bytes, new LevelRecordReader())) {
    const edit = new EditReader(record);
    while (!edit.done) {
      const tag = edit.number();
      if (tag === COMPARATOR) edit.skip();
      else edit.number();
      if (tag === COMPACT_POINTER) keys.push(edit.rowKey());
      else if (tag === DELETED_FILE) edit.number();
      else if (tag === NEW_FILE) {
        edit.number();
        edit.number();
        keys.push(edit.rowKey(), edit.rowKey());
      }
    }
  }
  return keys;
}

/** The same of the file `path`, which its errors name. */
export function decodeManifestFile(path: string, bytes: Uint8Array): LevelManifest {
  try {
    return decodeLevelManifest(bytes);
  } catch (error) {
    if (!isCairnError(error, "INDEX_CORRUPT")) throw error;
    const why = bytes.length === 0 ? "It is empty." : error.message;
    throw new CairnError("INDEX_CORRUPT", `The manifest ${path} is damaged. ${why}`, {
      hint: "Restore the index from a checkpoint; the transaction log has everything that is in it.",
      cause: error,
    });
  }
}

/** Whether a log holds rows that are in no table yet. */
export function needsLog(manifest: LevelManifest, log: number): boolean {
  return log >= manifest.logNumber || log === manifest.previousLogNumber;
}

function* recordsOf(bytes: Uint8Array, reader: LevelRecordReader): Generator<Uint8Array, void, undefined> {
  for (let start = 0; start < bytes.length; start += LEVEL_BLOCK_SIZE) {
    yield* reader.read(bytes.subarray(start, start + LEVEL_BLOCK_SIZE));
  }
}

/** Reads the varints and length-prefixed bytes of one version edit. */
class EditReader {
  readonly #bytes: Uint8Array;
  #position = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get done(): boolean {
    return this.#position >= this.#bytes.length;
  }

  // Multiplied, not shifted: file numbers and sequences may pass 32 bits (sequences have 56 at most).
  number(): number {
    let value = 0;
    for (let scale = 1; scale <= 2 ** 56; scale *= 128) {
      const byte = this.#bytes[this.#position++];
      if (byte === undefined) throw corrupt("ends inside a number");
      value += (byte & 0x7f) * scale;
      if (byte < 128) return value;
    }
    throw corrupt("has a number of too many bytes");
  }

  text(): string {
    return Buffer.from(this.#take()).toString("utf8");
  }

  skip(): void {
    this.#take();
  }

  /** A row's key: LevelDB puts a sequence number and a type of eight bytes behind it. */
  rowKey(): Uint8Array {
    return this.#take().slice(0, -8);
  }

  #take(): Uint8Array {
    const length = this.number();
    const start = this.#position;
    this.#position += length;
    if (this.#position > this.#bytes.length) throw corrupt("ends inside a key");
    return this.#bytes.subarray(start, this.#position);
  }
}

function corrupt(what: string): CairnError {
  return new CairnError("INDEX_CORRUPT", `A version edit of the LevelDB manifest ${what}.`, {
    hint: "Restore the index from a checkpoint.",
  });
}
