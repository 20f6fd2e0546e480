import { open } from "node:fs/promises";
import { type Block, checkBlock, findBlocks, readerOf, TRAILER_BYTES } from "./check-table.ts";
import { type CairnError, isCairnError } from "../errors/errors.ts";
import { rowKeyOf } from "../files/level-manifest.ts";

export interface TableDamage {
  /** The position of the part in the file and its size, in bytes. */
  readonly offset: number;
  readonly bytes: number;
  /**
   * The bounds of the keys of its rows: they are above `after`, and `upTo` is the last possible key. If `after` is
   * undefined, there is no lower bound; if `upTo` is undefined, there is no upper bound, or there are no rows.
   */
  readonly after: Uint8Array | undefined;
  readonly upTo: Uint8Array | undefined;
  readonly error: CairnError;
}

/**
 * Yields every damaged part of the table at `path`, in the order of the offsets. If the table's index is damaged,
 * yields the whole table. Calls `onRead` with the size of each block that it has compared. Holds the table's index and
 * its largest block in memory.
 */
export async function* findTableDamage(
  path: string,
  onRead?: (bytes: number) => void,
): AsyncGenerator<TableDamage, void, void> {
  const file = await open(path);
  try {
    const { size } = await file.stat();
    const read = readerOf(path, file);
    const blocks = await found(async () => await findBlocks(path, size, read, true));
    if (!Array.isArray(blocks)) {
      yield { offset: 0, bytes: size, after: undefined, upTo: undefined, error: blocks };
      return;
    }
    let after: Uint8Array | undefined;
    for (const { offset, size: bytes, upTo: end } of blocks) {
      const upTo = end === undefined ? undefined : rowKeyOf(end);
      const error = await found(async () =>
        checkBlock(path, await read(offset, bytes + TRAILER_BYTES), 0, bytes),
      );
      if (error !== undefined) yield { offset, bytes, after, upTo, error };
      onRead?.(bytes + TRAILER_BYTES);
      after = upTo ?? after;
    }
  } finally {
    await file.close();
  }
}

/** Returns the result of `find`, or the damage that `find` encountered. */
async function found<T extends readonly Block[] | void>(find: () => Promise<T>): Promise<T | CairnError> {
  try {
    return await find();
  } catch (error) {
    if (!isCairnError(error, "INDEX_CORRUPT")) throw error;
    return error;
  }
}
