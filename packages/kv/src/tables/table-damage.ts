import { open } from "node:fs/promises";
import { type Block, checkBlock, cutShort, findBlocks } from "./check-table.ts";
import { type CairnError, isCairnError } from "../errors/errors.ts";

/** A part of a table whose bytes are not those that were written. */
export interface TableDamage {
  /** Where it begins in the file, and how long it is, in bytes. */
  readonly offset: number;
  readonly bytes: number;
  /** Its rows have keys above `after` (undefined: from the table's first on) and not above `upTo` (undefined: to its last, or none are in it). */
  readonly after: Uint8Array | undefined;
  readonly upTo: Uint8Array | undefined;
  readonly error: CairnError;
}

// LevelDB puts a sequence number and a type behind each key.
const KEY_SUFFIX = 8;
const BLOCK_TRAILER = 5;

/**
 * Every damaged part of the table at `path`, in the order of their places; where the table's own index is damaged, that is the whole
 * table. `onRead` is told the bytes that were compared, block by block. Memory: the table's index and its largest block.
 */
export async function* findTableDamage(
  path: string,
  onRead?: (bytes: number) => void,
): AsyncGenerator<TableDamage, void, void> {
  const file = await open(path);
  try {
    const { size } = await file.stat();
    const read = async (position: number, length: number): Promise<Buffer> => {
      const target = Buffer.allocUnsafe(length);
      if ((await file.read(target, 0, length, position)).bytesRead < length) throw cutShort(path);
      return target;
    };
    const blocks = await found(async () => await findBlocks(path, size, read, true));
    if (!Array.isArray(blocks)) {
      yield { offset: 0, bytes: size, after: undefined, upTo: undefined, error: blocks };
      return;
    }
    let after: Uint8Array | undefined;
    for (const { offset, size: bytes, upTo: end } of blocks) {
      const upTo = end === undefined ? undefined : rowKey(end);
      const error = await found(async () =>
        checkBlock(path, await read(offset, bytes + BLOCK_TRAILER), 0, bytes),
      );
      if (error !== undefined) yield { offset, bytes, after, upTo, error };
      onRead?.(bytes + BLOCK_TRAILER);
      after = upTo ?? after;
    }
  } finally {
    await file.close();
  }
}

/** What `look` finds, or the damage that kept it from looking. */
async function found<T extends readonly Block[] | void>(look: () => Promise<T>): Promise<T | CairnError> {
  try {
    return await look();
  } catch (error) {
    if (!isCairnError(error, "INDEX_CORRUPT")) throw error;
    return error;
  }
}

function rowKey(key: Uint8Array): Uint8Array {
  return key.subarray(0, Math.max(0, key.length - KEY_SUFFIX));
}
