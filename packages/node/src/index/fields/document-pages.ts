import type { KvReader } from "@cairn/kv";

/** In a text: bytes that are no UTF-8, or a character of its own. */
const REPLACEMENT = "\ufffd";

type Pages<Row> = AsyncIterator<readonly Row[], unknown>;

/** Where pages of rows begin: at a key, or behind it. */
export type PagesBegin = { readonly gte: Uint8Array } | { readonly gt: Uint8Array };

/** A key or a value as it was read. */
export type RowPart = Uint8Array | string;

/** Rows, each with its key and its value. */
export type RowPage = readonly (readonly [RowPart, RowPart])[];

/**
 * The rows from `begin` to before `lt` in order, in pages, while nobody writes any of them: the next page is read while one is looked at.
 * Where the store can, they are read as text: with the bytes that {@link bytesOf} makes of it, that costs half of reading bytes.
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

/** Of what was read as text: made as late as it is needed, since all of a page's live too long. */
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
      // Told to whoever asks for it; until then it is nobody's.
      next.catch(() => {});
      yield page.value;
    }
  } finally {
    await Promise.allSettled([next]);
    await iterator.return?.();
  }
}
