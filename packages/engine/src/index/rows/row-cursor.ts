import { inParallel, type KvRange, type KvReader, type KvRow } from "@cairn/kv";

export async function firstRow(reader: KvReader, range: KvRange): Promise<KvRow | undefined> {
  for await (const [row] of reader.range({ ...range, limit: 1 })) return row;
  return undefined;
}

/** Returns all rows of a range, which must be small. */
export async function allRows(reader: KvReader, range: KvRange): Promise<KvRow[]> {
  const found: KvRow[] = [];
  for await (const rows of reader.range(range)) for (const row of rows) found.push(row);
  return found;
}

/**
 * The maximum number of rows that are read one by one. If the rows are in memory, this takes microseconds, whereas a
 * request to another thread would account for a large part of the latency of a single write.
 */
export const MAX_SINGLE_READS = 8;

export async function readRows(
  reader: KvReader,
  keys: readonly Uint8Array[],
): Promise<readonly (Uint8Array | undefined)[]> {
  if (keys.length > MAX_SINGLE_READS) return await reader.getMany(keys);
  return await Promise.all(keys.map((key) => reader.get(key)));
}

/** The maximum number of reads that run at once, each of which may hold a document. */
const READS_AT_ONCE = 16;

/** Returns what `read` returns for each item, in the order of the items. Several reads run at once. */
export async function readEach<Item, Result>(
  items: readonly Item[],
  read: (item: Item, at: number) => Promise<Result>,
): Promise<Result[]> {
  const results = Array<Result>(items.length);
  await inParallel(items.entries(), READS_AT_ONCE, async ([at, item]) => {
    results[at] = await read(item, at);
  });
  return results;
}

/** Merges sources that are in order. Of items that are equal, it yields only one. */
export async function* merged<T>(
  sources: readonly AsyncIterable<readonly T[]>[],
  compare: (a: T, b: T) => number,
): AsyncGenerator<readonly T[], void, void> {
  const all = sources.map((source) => ({
    pages: source[Symbol.asyncIterator](),
    page: [] as readonly T[],
    at: 0,
  }));
  let left = all;
  try {
    for (;;) {
      const readOn = left.map(async (source) => {
        while (source.at === source.page.length) {
          const { done, value } = await source.pages.next();
          if (done === true) return;
          Object.assign(source, { page: value, at: 0 });
        }
      });
      await Promise.all(readOn);
      left = left.filter(({ page, at }) => at < page.length);
      const [first] = left;
      if (first === undefined) return;
      const found: T[] = [];
      while (left.every(({ page, at }) => at < page.length)) {
        let next = first.page[first.at] as T;
        for (const { page, at } of left) if (compare(page[at] as T, next) < 0) next = page[at] as T;
        found.push(next);
        for (const source of left) if (compare(source.page[source.at] as T, next) === 0) source.at += 1;
      }
      yield found;
    }
  } finally {
    await Promise.all(all.map(async ({ pages }) => await pages.return?.()));
  }
}
