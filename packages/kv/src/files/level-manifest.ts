import { CairnError, isCairnError } from "../errors/errors.ts";
import { LevelRecordReader, recordsOf } from "./level-records.ts";
import { VarintReader } from "./varint-reader.ts";

// The tags of a version edit (db/version_edit.cc in LevelDB's source). The tag 8 is no longer in use.
const COMPARATOR = 1;
const LOG_NUMBER = 2;
const NEXT_FILE = 3;
const LAST_SEQUENCE = 4;
const COMPACT_POINTER = 5;
const DELETED_FILE = 6;
const NEW_FILE = 7;
const PREVIOUS_LOG_NUMBER = 9;

/** The content of a LevelDB manifest after all its version edits. */
export interface LevelManifest {
  readonly comparator: string;
  /** The number of a log. All rows of logs with lower numbers are in tables. */
  readonly logNumber: number;
  /**
   * The number of a log that is needed although it is below `logNumber`; 0 if there is none, as is always
   * the case in current versions of LevelDB.
   */
  readonly previousLogNumber: number;
  /** A number higher than that of every file that the manifest names. */
  readonly nextFile: number;
  readonly lastSequence: number;
  /** The sizes of the live tables in bytes, by file number. */
  readonly tables: ReadonlyMap<number, number>;
  /** The first and the last key of each table, by file number. */
  readonly bounds: ReadonlyMap<number, readonly [first: Uint8Array, last: Uint8Array]>;
  /** The level of each table, by file number. */
  readonly levels: ReadonlyMap<number, number>;
  /**
   * The key at which the last compaction of each level ended, by level. The key may outlive its row, even in a manifest
   * written on opening.
   */
  readonly pointers: ReadonlyMap<number, Uint8Array>;
  /** The offset after the last complete edit. It may be followed by an edit that was being written. */
  readonly end: number;
}

/** Decodes a manifest. Throws `INDEX_CORRUPT` if the bytes are not a complete LevelDB manifest. */
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
    const edit = new VarintReader(record, corrupt);
    const added: [level: number, number: number, size: number, bounds: [Uint8Array, Uint8Array]][] = [];
    while (!edit.isAtEnd) {
      const tag = edit.number();
      if (tag === COMPARATOR) comparator = Buffer.from(edit.bytes()).toString("utf8");
      else if (tag === LOG_NUMBER) logNumber = edit.number();
      else if (tag === PREVIOUS_LOG_NUMBER) previousLogNumber = edit.number();
      else if (tag === NEXT_FILE) nextFile = edit.number();
      else if (tag === LAST_SEQUENCE) lastSequence = edit.number();
      else if (tag === COMPACT_POINTER) {
        pointers.set(edit.number(), rowKeyOf(edit.bytes()));
      } else if (tag === DELETED_FILE) {
        edit.number();
        const number = edit.number();
        tables.delete(number);
        bounds.delete(number);
        levels.delete(number);
      } else if (tag === NEW_FILE) {
        added.push([
          edit.number(),
          edit.number(),
          edit.number(),
          [rowKeyOf(edit.bytes()), rowKeyOf(edit.bytes())],
        ]);
      } else throw corrupt(`has the unknown tag ${tag}`);
    }
    // An edit that moves a table to another level deletes the table and adds it again, and LevelDB deletes first.
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

/** Keys of tables that no longer exist remain in the edits until the manifest is replaced. */
export function keysNamedIn(bytes: Uint8Array): Uint8Array[] {
  const keys: Uint8Array[] = [];
  for (const record of recordsOf(bytes, new LevelRecordReader())) {
    const edit = new VarintReader(record, corrupt);
    while (!edit.isAtEnd) {
      const tag = edit.number();
      if (tag === COMPARATOR) edit.bytes();
      else edit.number();
      if (tag === COMPACT_POINTER) keys.push(rowKeyOf(edit.bytes()));
      else if (tag === DELETED_FILE) edit.number();
      else if (tag === NEW_FILE) {
        edit.number();
        edit.number();
        keys.push(rowKeyOf(edit.bytes()), rowKeyOf(edit.bytes()));
      }
    }
  }
  return keys;
}

/** Like {@link decodeLevelManifest}, with errors that name the file `path`. */
export function decodeManifestFile(path: string, bytes: Uint8Array): LevelManifest {
  try {
    return decodeLevelManifest(bytes);
  } catch (error) {
    if (!isCairnError(error, "INDEX_CORRUPT")) throw error;
    const why = bytes.length === 0 ? "It is empty." : error.message;
    throw new CairnError("INDEX_CORRUPT", `The manifest ${path} is damaged. ${why}`, {
      hint: "Restore the index from a checkpoint. The transaction log contains all of its data.",
      cause: error,
    });
  }
}

/** Returns whether a log contains rows that are not in any table yet. */
export function needsLog(manifest: LevelManifest, log: number): boolean {
  return log >= manifest.logNumber || log === manifest.previousLogNumber;
}

// A sequence number and a type follow each row's key.
const KEY_SUFFIX_BYTES = 8;

/** Returns a copy of the row's key within one of LevelDB's internal keys. */
export function rowKeyOf(key: Uint8Array): Uint8Array {
  return key.slice(0, Math.max(0, key.length - KEY_SUFFIX_BYTES));
}

function corrupt(what: string): CairnError {
  return new CairnError("INDEX_CORRUPT", `A version edit of the LevelDB manifest ${what}.`, {
    hint: "Restore the index from a checkpoint.",
  });
}
