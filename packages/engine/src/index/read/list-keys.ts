import { CairnError, type KvRange, type KvReader } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import { fieldTexts } from "../fields/field-texts.ts";
import { fieldRowDocument, fieldRowKey, fieldValuePrefix } from "../rows/field-row-keys.ts";
import { headsOf } from "../rows/index-rows.ts";
import { asKind, parseDocumentRowKey, ROW } from "../rows/row-keys.ts";
import { merged } from "../rows/row-cursor.ts";
import { checkedVersion, type VersionValue } from "../rows/version-values.ts";
import { notOfThisList } from "./cursor.ts";
import { checkFloor, type FoundVersion, type PastFloors, valuesAsOf } from "./document-reads.ts";
import {
  hasValues,
  isAmong,
  type KeyRange,
  type Order,
  rarestOf,
  type Wanted,
  type WantedField,
} from "./field-query.ts";
import { documentRows, isFiltered, type ListRange } from "./list-documents.ts";

interface FieldList {
  readonly reader: KvReader;
  readonly wanted: Wanted;
  readonly range: ListRange;
  /** Where to continue: after a document's row or, in an ordered list, after its {@link orderKey}. */
  readonly after: Uint8Array | undefined;
  /** The transaction as of which to list; undefined for current documents. */
  readonly txId: TxId | undefined;
  readonly floors: PastFloors;
  /** The maximum number of documents that are read at once. */
  readonly most: number;
}

type Keys = AsyncGenerator<readonly Uint8Array[], void, void>;

/** If no more documents than this have a wanted value, an ordered list reads them all for each page, and sorts them. */
const MAX_SORTED = 10_000;

/**
 * Yields document row keys in the order of the list: those of all matching documents, and others, which
 * {@link matching} rules out. `changed` has the keys that changed after the list's transaction; undefined if these are
 * unknown, which only an ordered list permits.
 */
export async function* documentKeys(list: FieldList, changed: readonly Buffer[] | undefined): Keys {
  const { wanted, range, reader, after } = list;
  const { fields, order } = wanted;
  if (order === undefined) {
    const field = fields.length === 1 ? fields[0] : (await rarestOf(reader, wanted))?.field;
    if (field !== undefined) yield* keysByValue(list, field, changed ?? []);
    return;
  }
  const { index, rows = [] } = fields[order.at] ?? {};
  // The cursor has the parameters of the list, but its rows were removed: a field that is added again has others.
  if (after !== undefined && !isAmong(rows, after))
    throw new CairnError(
      "REQUEST_INVALID",
      `The field ${JSON.stringify(index?.field)}, which orders the list, was removed from the indexes and added again after the list began.`,
      "Start the list again without a cursor.",
    );
  for await (const keys of keysInOrder(list, order, changed))
    yield keys.map((key) => fieldRowDocument(key, range.bucket));
}

/** Yields the keys of the documents that have a field's wanted value, and `changed`, all in order. */
function keysByValue(list: FieldList, { index, rows }: WantedField, changed: readonly Uint8Array[]): Keys {
  const { reader, range, wanted } = list;
  const after = wanted.order === undefined ? list.after : undefined;
  const listed = documentRows(range);
  if (after !== undefined && !isAmong([listed], after)) throw notOfThisList();
  // If the list is plain, every row belongs to the page, and one extra row shows whether there is another page.
  const isPlain = changed.length === 0 && !isFiltered(range) && wanted.fields.length === 1;
  const limit = isPlain ? { limit: range.limit + 1 } : {};
  const sources = rows.map(async function* ({ gte: prefix }): Keys {
    const of = (rowKey: Uint8Array): Buffer => fieldRowKey(prefix, rowKey, index.bucket);
    const lt = of(listed.lt);
    const from = after === undefined ? { gte: of(listed.gte) } : { gt: of(after) };
    for await (const page of reader.range({ ...from, lt, ...limit }))
      yield page.map(([key]) => fieldRowDocument(key, index.bucket));
  });
  return merged([...sources, single(changed)], Buffer.compare);
}

/**
 * Yields the {@link orderKey}s of documents. The rows of the field that orders the list contain those of all documents
 * that have not changed since its transaction. Where the rows cannot be used, or few documents have a value that a
 * condition requires, all documents in question are read, and only those that come next are kept.
 */
async function* keysInOrder(list: FieldList, order: Order, changed: readonly Buffer[] | undefined): Keys {
  const { reader, range, wanted, after } = list;
  if (changed === undefined) return yield* sorted(list, order, allKeys(list));
  const rarest = await rarestOf(reader, wanted);
  if (rarest !== undefined && rarest.count <= MAX_SORTED)
    return yield* sorted(list, order, keysByValue(list, rarest.field, changed));
  const { namespace, prefix = "", from, to } = range;
  const isWhole = [namespace, prefix || undefined, from, to].every((one) => one === undefined);
  const isPlain = changed.length === 0 && isWhole && wanted.fields.length === 1;
  const limit = isPlain ? { limit: range.limit + 1 } : {};
  const listed = documentRows(range);
  const isChanged = new Set(changed.map((key) => key.toString("latin1")));
  const isCandidate = (key: Buffer): boolean =>
    isAmong([listed], key) && !isChanged.has(key.toString("latin1"));
  const sources = (wanted.fields[order.at]?.rows ?? []).map(async function* (rows): Keys {
    const rest = after === undefined ? rows : rowsAfter(rows, after, order);
    for await (const page of reader.range({ ...rest, reverse: order.isReverse, ...limit })) {
      const keys = page.map(([key]) => key);
      yield isPlain ? keys : keys.filter((key) => isCandidate(fieldRowDocument(key, range.bucket)));
    }
  });
  yield* merged([...sources, sorted(list, order, single(changed))], comparison(order));
}

function rowsAfter({ gte, lt }: KeyRange, after: Uint8Array, { isReverse }: Order): KvRange {
  if (isReverse) return { gte, lt: Buffer.compare(after, lt) < 0 ? after : lt };
  return Buffer.compare(after, gte) < 0 ? { gte, lt } : { gt: after, lt };
}

function comparison({ isReverse }: Order): (a: Uint8Array, b: Uint8Array) => number {
  return isReverse ? (a, b) => Buffer.compare(b, a) : Buffer.compare;
}

/** Reads the documents of `keys`, and yields the {@link orderKey}s of those that come next in the list. */
async function* sorted(list: FieldList, order: Order, keys: Keys): Keys {
  const { wanted, after, most } = list;
  const compare = comparison(order);
  const wantedCount = list.range.limit + 1;
  let found: Uint8Array[] = [];
  for await (const rowKeys of keys) {
    for (let from = 0; from < rowKeys.length; from += most) {
      for (const match of await matching(list, rowKeys.slice(from, from + most))) {
        const key = orderKey(wanted, ...match);
        if (after === undefined || compare(key, after) > 0) found.push(key);
      }
      if (found.length > 2 * wantedCount) found = found.toSorted(compare).slice(0, wantedCount);
    }
  }
  yield found.toSorted(compare);
}

/** Returns the place of a document in an ordered list: the key of its row of the field, as of the list's transaction. */
export function orderKey({ indexes, order }: Wanted, rowKey: Uint8Array, value: VersionValue): Buffer {
  const index = indexes[order?.at ?? -1];
  const text = fieldTexts(value, indexes)[order?.at ?? -1];
  if (index === undefined || text === undefined) throw new Error("the list has no order");
  return fieldRowKey(fieldValuePrefix(index.id, text), rowKey, index.bucket);
}

/** Yields the keys of all documents of a list's range, and of all that were deleted. */
async function* allKeys({ reader, range }: FieldList): Keys {
  const { gte, lt } = documentRows(range);
  for (const kind of [ROW.document, ROW.tombstone]) {
    const rows = { gte: asKind(gte, kind), lt: asKind(lt, kind) };
    for await (const page of headsOf(reader).range(rows))
      yield page.map(([key]) => asKind(key, ROW.document));
  }
}

/** Reads documents as of the list's transaction, and returns those that meet the list's conditions. */
export async function matching(
  { reader, wanted, range, txId, floors }: FieldList,
  rowKeys: readonly Uint8Array[],
): Promise<FoundVersion[]> {
  const rows = isFiltered(range)
    ? rowKeys.filter((key) => parseDocumentRowKey(key).name.startsWith(range.prefix ?? ""))
    : rowKeys;
  const tombstones = txId === undefined ? [] : rows.map((key) => asKind(key, ROW.tombstone));
  const values = await reader.getMany([...rows, ...tombstones]);
  const newest = rows.map((rowKey, at) => {
    const tombstone = tombstones[at];
    const document = checkedVersion(rowKey, values[at]);
    const deleted = tombstone && checkedVersion(tombstone, values[rows.length + at]);
    return [rowKey, document ?? deleted] as const;
  });
  const past = txId === undefined ? undefined : await valuesAsOf(reader, newest, txId);
  const found: FoundVersion[] = [];
  for (const [at, [rowKey, current]] of newest.entries()) {
    const value = past === undefined ? current : past[at];
    if (value !== undefined && hasValues(wanted, value)) found.push([rowKey, value]);
    if (value === undefined && current !== undefined && txId !== undefined)
      checkFloor(floors, range.bucket, txId, current);
  }
  return found;
}

async function* single(keys: readonly Uint8Array[]): Keys {
  yield keys;
}
