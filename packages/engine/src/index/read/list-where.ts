import type { KvReader } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import { qualifiedKey } from "@cairn/text";
import { checkFloor, FilledPage, type ListedDocuments, readFloors } from "./document-reads.ts";
import { hasValues, isAmong, type ListSelection, wantedFields } from "./field-query.ts";
import {
  documentRowKey,
  expiredRowKey,
  NO_STEM,
  parseNumberedStem,
  ROW,
  rowsOfKind,
} from "../rows/row-keys.ts";
import type { IndexState } from "../rows/index-state.ts";
import { documentKeys, matching, orderKey } from "./list-keys.ts";
import { documentRows, documentsPerRead, listAsOf, type ListRange } from "./list-documents.ts";
import { unsealed } from "../rows/row-checksum.ts";
import { readOutcomes } from "../rows/outcome-rows.ts";
import { outcomeOperations } from "../rows/row-values.ts";

/** In an ordered list, `after` is the row of the field (`orderKey`) after which to continue. */
type WhereRange = ListRange & ListSelection;

/** After more transactions than this, listing everything as of that time costs less than finding the changed keys. */
const MAX_TRANSACTIONS_BACK = 10_000;
/**
 * With more changed keys than this, everything is listed too: each page of each reader holds them in memory, and 10,000
 * transactions can change ten million.
 */
const MAX_CHANGED_KEYS = 50_000;

/**
 * Lists the documents whose fields had the requested values after transaction `txId`, in key order or in that of a
 * field. The index of a field selects candidates, to which keys changed since `txId` are added; all conditions are then
 * checked. Throws the errors of {@link wantedFields} and {@link listAsOf}.
 */
export async function listWhere(
  reader: KvReader,
  range: WhereRange,
  state: IndexState,
  txId: TxId,
): Promise<ListedDocuments> {
  const wanted = await wantedFields(reader, range, state);
  const isOrdered = wanted.order !== undefined;
  const isPast = txId < state.txId;
  const { after, ...whole } = range;
  const changed = isPast ? await changedKeys(reader, isOrdered ? whole : range, txId, state) : [];
  if (changed === undefined && !isOrdered) {
    return await listAsOf(reader, range, state, txId, (bytes) => hasValues(wanted, bytes));
  }
  const floors = isPast ? await readFloors(reader, range.bucket) : { floor: 0, gone: 0 };
  if (isPast) checkFloor(floors, range.bucket, txId, undefined);
  const most = documentsPerRead(state);
  const list = { reader, wanted, range: whole, after, txId: isPast ? txId : undefined, floors, most };
  const page = new FilledPage(range.limit);
  const found = await page.fill(documentKeys(list, changed), most, (rowKeys) => matching(list, rowKeys));
  if (found.after === undefined || !isOrdered || page.last === undefined) return found;
  return { documents: found.documents, after: orderKey(wanted, ...page.last) };
}

/**
 * Document row keys, in order, that may have changed after `after`; undefined if these may be too many.
 */
async function changedKeys(
  reader: KvReader,
  range: ListRange,
  after: TxId,
  state: IndexState,
): Promise<readonly Buffer[] | undefined> {
  if (after < Math.max(state.txId - MAX_TRANSACTIONS_BACK, state.outcomesAfter ?? 0)) return undefined;
  const listed = documentRows(range);
  const found = new Map<string, Buffer>();
  const note = (rowKey: Buffer): void => {
    if (!isAmong([listed], rowKey)) return;
    if (range.after !== undefined && Buffer.compare(rowKey, range.after) <= 0) return;
    found.set(rowKey.toString("latin1"), rowKey);
  };
  for await (const outcomes of readOutcomes(reader, { after, upTo: state.txId })) {
    for (const { outcome } of outcomes) {
      for (const [op, bucket, name] of outcomeOperations(outcome)) {
        // An evicted key no longer has any history.
        if ((op !== "put" && op !== "delete") || bucket !== range.bucket) continue;
        note(documentRowKey(bucket, qualifiedKey(name)));
      }
      if (found.size > MAX_CHANGED_KEYS) return undefined;
    }
  }
  const expired = { gte: expiredRowKey(after + 1, NO_STEM), lt: rowsOfKind(ROW.expired).lt };
  for await (const rows of reader.range(expired)) {
    for (const [key, value] of rows) {
      unsealed(key, value);
      const { stem } = parseNumberedStem(key);
      note(Buffer.concat([Buffer.from([ROW.document]), stem]));
    }
    if (found.size > MAX_CHANGED_KEYS) return undefined;
  }
  return [...found.values()].toSorted((a, b) => Buffer.compare(a, b));
}
