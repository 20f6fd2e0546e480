import { type CairnError, indexCorrupt, isCairnError } from "../errors/errors.ts";
import { fileOfRecord, recordsOf } from "./level-records.ts";
import { VarintReader } from "./varint-reader.ts";

// The tags of a version edit (db/version_edit.cc in LevelDB's source). The tag 8 is no longer in use.
const COMPARATOR = 1;
const LOG_NUMBER = 2;
const NEXT_FILE = 3;
const LAST_SEQUENCE = 4;
const COMPACT_POINTER = 5;
const DELETED_FILE = 6;
const NEW_FILE = 7;
// Always 0 in current versions of LevelDB.
const PREVIOUS_LOG_NUMBER = 9;
/** The tags of single numbers, of which the last one counts. */
const NUMBERS = new Set([LOG_NUMBER, NEXT_FILE, LAST_SEQUENCE, PREVIOUS_LOG_NUMBER]);

/** A live table. `first` and `last` are keys of rows in it. */
export interface LevelTable {
  readonly number: number;
  readonly level: number;
  readonly bytes: number;
  readonly first: Uint8Array;
  readonly last: Uint8Array;
  /** Its entry in a version edit, as it is encoded. */
  readonly entry: Uint8Array;
}

/** The content of a LevelDB manifest after all its version edits. */
export interface LevelManifest {
  readonly comparator: string;
  /** The number of a log. All rows of logs with lower numbers are in tables. */
  readonly logNumber: number;
  /** A number higher than that of every file that the manifest names. */
  readonly nextFile: number;
  readonly lastSequence: number;
  readonly tables: ReadonlyMap<number, LevelTable>;
  /**
   * The key at which the last compaction of each level ended, by level. The key may outlive its row, even in a manifest
   * written on opening.
   */
  readonly pointers: ReadonlyMap<number, Uint8Array>;
  /** All keys in the file. Those of tables that no longer exist remain until the manifest is replaced. */
  readonly namedKeys: readonly Uint8Array[];
  /** The other entries that count, as they are encoded. Each replaced earlier ones of its tag and level. */
  readonly entries: ReadonlyMap<string, Uint8Array>;
}

/** Decodes a manifest. Throws `INDEX_CORRUPT` if the bytes are not a complete LevelDB manifest. */
export function decodeLevelManifest(bytes: Uint8Array): LevelManifest {
  const tables = new Map<number, LevelTable>();
  const pointers = new Map<number, Uint8Array>();
  const numbers = new Map<number, number>();
  const namedKeys: Uint8Array[] = [];
  const entries = new Map<string, Uint8Array>();
  let comparator = "";
  const { records, problem } = recordsOf(bytes);
  for (const { payload: record } of records) {
    const edit = new VarintReader(record, corrupt);
    const key = (): Uint8Array => {
      const named = rowKeyOf(edit.bytes());
      namedKeys.push(named);
      return named;
    };
    const added: LevelTable[] = [];
    while (!edit.isAtEnd) {
      const start = edit.position;
      const tag = edit.number();
      if (tag === DELETED_FILE) {
        edit.number();
        tables.delete(edit.number());
      } else if (tag === NEW_FILE) {
        const [level, number, size] = [edit.number(), edit.number(), edit.number()];
        const [first, last] = [key(), key()];
        const entry = record.subarray(start, edit.position);
        added.push({ level, number, bytes: size, first, last, entry });
      } else {
        let replaced = `${tag}`;
        if (tag === COMPARATOR) comparator = Buffer.from(edit.bytes()).toString("utf8");
        else if (NUMBERS.has(tag)) numbers.set(tag, edit.number());
        else if (tag === COMPACT_POINTER) {
          const level = edit.number();
          pointers.set(level, key());
          replaced += ` ${level}`;
        } else throw corrupt(`has the unknown tag ${tag}`);
        entries.set(replaced, record.subarray(start, edit.position));
      }
    }
    // An edit that moves a table to another level deletes the table and adds it again, and LevelDB deletes first.
    for (const table of added) tables.set(table.number, table);
  }
  if (problem !== undefined) throw problem;
  const logNumber = numbers.get(LOG_NUMBER);
  const nextFile = numbers.get(NEXT_FILE);
  const lastSequence = numbers.get(LAST_SEQUENCE);
  if (logNumber === undefined || nextFile === undefined || lastSequence === undefined) {
    throw corrupt("lacks its log number, next file number or last sequence");
  }
  return { comparator, logNumber, nextFile, lastSequence, tables, pointers, namedKeys, entries };
}

/** Returns a manifest with the same content in one version edit, as LevelDB writes one on opening. */
export function encodeLevelManifest({ entries, tables }: LevelManifest): Buffer {
  const added = [...tables.values()].map(({ entry }) => entry);
  return fileOfRecord(Buffer.concat([...entries.values(), ...added]));
}

/** Like {@link decodeLevelManifest}, with errors that name the file `path`. */
export function decodeManifestFile(path: string, bytes: Uint8Array): LevelManifest {
  try {
    return decodeLevelManifest(bytes);
  } catch (error) {
    if (!isCairnError(error, "INDEX_CORRUPT")) throw error;
    const why = bytes.length === 0 ? "It is empty." : error.message;
    throw indexCorrupt(`The manifest ${path} is damaged. ${why}`, error);
  }
}

/** Returns whether a log contains rows that are not in any table yet. */
export function needsLog(manifest: LevelManifest, log: number): boolean {
  return log >= manifest.logNumber;
}

/** A sequence number and a type follow each row's key. */
export const KEY_SUFFIX_BYTES = 8;

/** Returns a copy of the row's key within one of LevelDB's internal keys. */
export function rowKeyOf(key: Uint8Array): Uint8Array {
  return key.slice(0, Math.max(0, key.length - KEY_SUFFIX_BYTES));
}

function corrupt(what: string): CairnError {
  return indexCorrupt(`A version edit of the LevelDB manifest ${what}.`);
}
