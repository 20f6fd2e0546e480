import type { KvReader } from "@cairn/kv";
import type { DocumentKey } from "@cairn/client";
import type { IndexState } from "../rows/index-state.ts";
import { historyCursor, listCursor, outcomeMark, requireExistingHistory } from "./cursor.ts";
import { readHistory, resolveAsOf } from "./document-reads.ts";
import type { AsOf, DocumentPage, HistoryPage } from "./documents.ts";
import type { FieldQuery } from "./field-query.ts";
import { listAsOf, listCurrent } from "./list-documents.ts";
import { listWhere } from "./list-where.ts";

/** A query for a list of documents. Its members are those of a query of `NodeApi.list`, after validation. */
export interface IndexListQuery {
  readonly bucket: string;
  readonly namespace?: string;
  readonly prefix?: string;
  readonly limit: number;
  readonly cursor?: string;
  readonly asOf?: AsOf;
  readonly where?: readonly FieldQuery[];
  readonly order?: string;
}

export async function readList(
  reader: KvReader,
  state: IndexState,
  query: IndexListQuery,
): Promise<DocumentPage> {
  const now = state.txId;
  const cursor = query.cursor === undefined ? undefined : listCursor.decode(query, query.cursor);
  if (cursor !== undefined) await requireExistingHistory(reader, cursor);
  const txId = cursor?.txId ?? (await resolveAsOf(reader, query.asOf)) ?? now;
  const range = cursor === undefined ? query : { ...query, after: Buffer.from(cursor.after, "base64url") };
  const { where = [], order } = query;
  const { documents, after } =
    where.length > 0 || order !== undefined
      ? await listWhere(reader, range, state, txId)
      : txId >= now
        ? await listCurrent(reader, range)
        : await listAsOf(reader, range, txId);
  const page = { txId: Math.min(txId, now), documents };
  if (after === undefined) return page;
  const mark = cursor?.mark ?? (await outcomeMark(reader, page.txId));
  const point = { txId: page.txId, after: Buffer.from(after).toString("base64url"), mark };
  return { ...page, cursor: listCursor.encode(query, point) };
}

/** Reads a page of a key's versions. */
export async function readHistoryPage(
  reader: KvReader,
  key: DocumentKey,
  limit: number,
  cursor: string | undefined,
): Promise<HistoryPage> {
  const before = cursor === undefined ? {} : { before: historyCursor.decode(key, cursor) };
  const { versions, more } = await readHistory(reader, key, { limit, ...before });
  const oldest = versions.at(-1);
  return more && oldest !== undefined
    ? { versions, cursor: historyCursor.encode(key, oldest.revision) }
    : { versions };
}
