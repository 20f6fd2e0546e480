import type { KvReader } from "@cairn/kv";

/** The replacement character. In a string, it stands for bytes that are not UTF-8, or for itself. */
const REPLACEMENT = "\ufffd";

type Pages<Row> = AsyncIterator<readonly Row[], unknown>;

/** The key at which, or after which, pages of rows begin. */
type PagesBegin = { readonly gte: Uint8Array } | { readonly gt: Uint8Array };

/** A key or a value, as bytes or as a string. */
type RowPart = Uint8Array | string;

/** A page of rows, each a pair of key and value. */
export type RowPage = readonly (readonly [RowPart, RowPart])[];

/**
 * Yields the rows from `begin` up to but not including `lt` in order, in pages, and prefetches one page. The rows must
 * not change while they are read. Reads strings if the store supports this, which costs half as much as reading bytes,
 * even including the conversion by {@link bytesOf}.
 */
export async function* documentPages(
  reader: KvReader,
  begin: PagesBegin,
  lt: Uint8Array,
): AsyncGenerator<RowPage> {
  if (reader.rangeText === undefined) {
    yield* readAhead(reader.range({ ...begin, lt }));
    return;
  }
  let from = begin;
  for await (const page of readAhead(reader.rangeText({ ...begin, lt }))) {
    const isPlain = !page.some(([key, value]) => key.includes(REPLACEMENT) || value.includes(REPLACEMENT));
    const pages = isPlain ? [page] : reader.range({ ...from, lt, limit: page.length });
    for await (const rows of pages) {
      yield rows;
      const [last] = rows.at(-1) ?? [];
      if (last !== undefined) from = { gt: bytesOf(last) };
    }
  }
}

/** Called for one row at a time, because the bytes of a whole page would stay in memory too long. */
export function bytesOf(part: RowPart): Uint8Array {
  return typeof part === "string" ? Buffer.from(part, "utf8") : part;
}

async function* readAhead<Row>(pages: AsyncIterable<readonly Row[]>): AsyncGenerator<readonly Row[]> {
  const iterator: Pages<Row> = pages[Symbol.asyncIterator]();
  let next = iterator.next();
  try {
    for (;;) {
      const page = await next;
      if (page.done === true) return;
      next = iterator.next();
      // The consumer receives the error when it awaits the page.
      next.catch(() => {});
      yield page.value;
    }
  } finally {
    await Promise.allSettled([next]);
    await iterator.return?.();
  }
}
