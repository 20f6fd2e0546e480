import { levelFileName, levelFileNumbers } from "../files/level-files.ts";
import { type LevelManifest, needsLog } from "../files/level-manifest.ts";
import { readLog } from "../files/write-ahead-logs.ts";
import { BatchOrder, keyText } from "../files/write-batch.ts";
import type { TableRow } from "../tables/check-table.ts";
import type { RangedFiles } from "./ranged-table.ts";

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
    for (const [number, [log, content]] of needed.entries()) {
      const name = `${levelFileName(log, "log")} of ${files.place}`;
      await readLog(content, order, {
        isLast: number === needed.length - 1,
        damaged: (at) => `The write-ahead log ${name} is damaged near byte ${at}.`,
        onChange: ({ key, value }, sequence) => void logged.#rows.set(keyText(key), { key, value, sequence }),
      });
    }
    return [logged, manifest];
  }

  get(key: Uint8Array): TableRow | undefined {
    return this.#rows.size === 0 ? undefined : this.#rows.get(keyText(key));
  }

  sorted(): readonly TableRow[] {
    this.#sorted ??= [...this.#rows.values()].toSorted((a, b) => Buffer.compare(a.key, b.key));
    return this.#sorted;
  }
}
