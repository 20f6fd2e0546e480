import { setImmediate } from "node:timers/promises";
import { indexCorrupt, isCairnError } from "../errors/errors.ts";
import { levelFileName, levelFileNumbers } from "../files/level-files.ts";
import { type LevelManifest, needsLog } from "../files/level-manifest.ts";
import { LevelRecordReader, recordsOf } from "../files/level-records.ts";
import { BatchOrder } from "../files/write-batch.ts";
import type { TableRow } from "../tables/check-table.ts";
import type { RangedFiles } from "./ranged-files.ts";

/** The number of bytes that are decoded at once, which takes about ten milliseconds. */
const SLICE_BYTES = 512 * 1024;

/** The rows of write-ahead logs that are not in tables yet: the newest change of each key. */
export class LoggedRows {
  readonly #rows = new Map<string, TableRow>();
  #sorted: readonly TableRow[] | undefined;

  /**
   * Reads the logs that a database needs, while its manifest is read: a captured one has no others. Throws
   * `INDEX_CORRUPT` if the batches have a gap. An incomplete record at the end of the newest log is ignored: it was being
   * written when the log was copied.
   */
  static async read(
    files: RangedFiles,
    decoding: Promise<LevelManifest>,
  ): Promise<[LoggedRows, LevelManifest]> {
    const contentOf = async (log: number): Promise<readonly [number, Buffer]> => [
      log,
      await files.whole(levelFileName(log, "log")),
    ];
    const logs = levelFileNumbers([...files.sizes.keys()], "log");
    const [manifest, ...contents] = await Promise.all([decoding, ...logs.map(contentOf)]);
    const needed = contents.filter(([log]) => needsLog(manifest, log));
    const logged = new LoggedRows();
    const order = new BatchOrder(manifest.lastSequence);
    for (const [at, [log, content]] of needed.entries())
      await logged.#add(content, order, {
        isLast: at === needed.length - 1,
        log: `${levelFileName(log, "log")} of ${files.place}`,
      });
    return [logged, manifest];
  }

  get(key: Uint8Array): TableRow | undefined {
    return this.#rows.size === 0 ? undefined : this.#rows.get(textOf(key));
  }

  /** The rows in the order of their keys. */
  sorted(): readonly TableRow[] {
    this.#sorted ??= [...this.#rows.values()].toSorted((a, b) => Buffer.compare(a.key, b.key));
    return this.#sorted;
  }

  async #add(
    content: Buffer,
    order: BatchOrder,
    { isLast, log }: { isLast: boolean; log: string },
  ): Promise<void> {
    const reader = new LevelRecordReader();
    const damaged = (cause?: unknown): Error =>
      indexCorrupt(`The write-ahead log ${log} is damaged near byte ${reader.end}.`, cause);
    try {
      let slice = 0;
      for (const batch of recordsOf(content, reader)) {
        const isAccepted = order.accept(batch, ({ key, value }, sequence) => {
          this.#rows.set(textOf(key), { key, value, sequence });
        });
        if (!isAccepted) throw damaged();
        slice += batch.length;
        if (slice < SLICE_BYTES) continue;
        slice = 0;
        await setImmediate();
      }
    } catch (error) {
      if (!isCairnError(error, "INDEX_CORRUPT")) throw error;
      const isZero = content.subarray(reader.end).every((byte) => byte === 0);
      if (!isLast || !isZero) throw damaged(error);
    }
    if (!isLast && reader.end < content.length) throw damaged();
  }
}

/** Texts of Latin 1 are compared like their bytes, and a map compares texts by their content. */
function textOf(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString("latin1");
}
