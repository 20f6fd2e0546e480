import type { KvReader } from "@cairn/kv";
import type { DocumentKey } from "@cairn/client";
import { formatPosition } from "@cairn/text";
import type { IndexState } from "../rows/index-state.ts";
import { historyCursor, listCursor, markedPlace } from "./cursor.ts";
import { readHistory, resolveAsOf } from "./document-reads.ts";
import type { DocumentPage, HistoryPage } from "./documents.ts";
import type { FieldQuery, ListSelection } from "./field-query.ts";
import { listAsOf, listCurrent } from "./list-documents.ts";
import { listWhere } from "./list-where.ts";

/** A query for a list of documents. Its members are those of a query of `NodeApi.list`, after validation. */
export interface IndexListQuery extends ListSelection {
  readonly limit: number;
  readonly cursor?: string;
  readonly where?: readonly FieldQuery[];
}

export async function readList(
  reader: KvReader,
  state: IndexState,
  query: IndexListQuery,
): Promise<DocumentPage> {
  const now = state.txId;
  const cursor = await listCursor.resume(reader, query, query.cursor);
  const txId = cursor?.txId ?? (await resolveAsOf(reader, query.asOf)) ?? now;
  const range = cursor === undefined ? query : { ...query, after: Buffer.from(cursor.after, "base64url") };
  const { where = [], order } = query;
  const { documents, after } =
    where.length > 0 || order !== undefined
      ? await listWhere(reader, range, state, txId)
      : txId >= now
        ? await listCurrent(reader, range)
        : await listAsOf(reader, range, state, txId);
  const { mark } = cursor ?? (txId >= now ? state : await markedPlace(reader, txId));
  const place = { txId: Math.min(txId, now), mark };
  const page = { txId: place.txId, position: formatPosition(place), documents };
  if (after === undefined) return page;
  const last = Buffer.from(after).toString("base64url");
  return { ...page, cursor: listCursor.encode(query, place, last) };
}

export async function readHistoryPage(
  reader: KvReader,
  state: IndexState,
  key: DocumentKey,
  limit: number,
  cursor: string | undefined,
): Promise<HistoryPage> {
  const before = (await historyCursor.resume(reader, key, cursor))?.after;
  const { versions, more } = await readHistory(reader, key, { limit, before });
  const oldest = versions.at(-1);
  return more && oldest !== undefined
    ? { versions, cursor: historyCursor.encode(key, state, oldest.revision) }
    : { versions };
}
