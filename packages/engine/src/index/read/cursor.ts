import { createHash } from "node:crypto";
import { CairnError, type KvReader } from "@cairn/kv";
import { z } from "zod";
import type { ClientEventQuery, DocumentKey, TxId } from "@cairn/client";
import { NO_MARK } from "../rows/chain-rows.ts";
import { readOutcome } from "../rows/outcome-rows.ts";
import type { ListSelection } from "./field-query.ts";
import { type MarkedPlace, parsedJson } from "@cairn/text";

/** The number of characters of a digest in a cursor. They suffice to distinguish two lists, or two histories. */
const DIGEST_CHARACTERS = 12;

const Id = z.int().min(0);

/**
 * The place as of which the page before was read, whatever the list: without it, a node that lags would continue with an
 * older state. It contains the mark of the transaction's message, because another history may contain the same id.
 */
const PLACE = { txId: Id, mark: z.string() };

/** A list continues after a row's key (in base64url), as of the transaction at which it began. */
export const listCursor = cursorOf(
  z.string(),
  ({ bucket, namespace, prefix = "", from, to, where = [], order, asOf }: ListSelection) => [
    "list",
    bucket,
    namespace ?? null,
    prefix,
    [where].flat(),
    order ?? null,
    asOf ?? null,
    // Lists without these have the same cursors as on nodes before 0.2.0.
    ...(from === undefined && to === undefined ? [] : [from, to]),
  ],
);

/** A history continues with the versions older than a revision. As "history", 0.1.0 would take the place for it. */
export const historyCursor = cursorOf(Id, ({ bucket, namespace, name }: DocumentKey) => [
  "versions",
  bucket,
  namespace,
  name,
]);

/** A list of open entries continues after the entry with this origin. */
export const openEntriesCursor = cursorOf(
  z.object({ txId: Id, at: Id.max(2 ** 32 - 1) }),
  ({ queue, shard }: { readonly queue: string; readonly shard: number }) => ["open", queue, shard],
);

/** A list of evictions continues with the rows before this key (in hex). */
export const evictionsCursor = cursorOf(z.string(), (_of: Readonly<Record<string, never>>) => ["evictions"]);

export type EventSelection = Pick<ClientEventQuery, "bucket" | "object" | "before">;

/** A list of events continues with those before the event with this id. */
export const eventsCursor = cursorOf(z.string(), ({ bucket, object, before }: EventSelection) => [
  "events",
  bucket ?? null,
  object ?? null,
  before ?? null,
]);

/** Returns the transaction that a node needs to continue a list. Throws `REQUEST_INVALID` if no list has the cursor. */
export function cursorTx(text: string): TxId {
  return parsedCursor(z.object(PLACE), text).at.txId;
}

/**
 * The cursors of a kind of list: opaque strings that fit in a URL. `resume` returns nothing for the first page. It throws
 * `REQUEST_INVALID` for the cursor of another list or of a lost history.
 */
function cursorOf<After, List>(after: z.ZodType<After>, identify: (list: List) => readonly unknown[]) {
  const point = z.object({ ...PLACE, after });
  return {
    encode: (list: List, { txId, mark }: MarkedPlace, last: After): string =>
      Buffer.from(JSON.stringify([digest(identify(list)), { txId, mark, after: last }])).toString(
        "base64url",
      ),
    async resume(reader: KvReader, list: List, text: string | undefined) {
      if (text === undefined) return undefined;
      const { of, at } = parsedCursor(point, text);
      if (of !== digest(identify(list))) throw notOfThisList();
      await requirePlace(reader, at);
      return at;
    },
  };
}

function parsedCursor<Point>(point: z.ZodType<Point>, text: string): { of: unknown; at: Point } {
  const parts = parsedJson(Buffer.from(text, "base64url").toString("utf8"));
  const [of, at] = (Array.isArray(parts) ? parts : []) as unknown[];
  const found = point.safeParse(at);
  if (!found.success) throw notOfThisList();
  return { of, at: found.data };
}

/** Returns the place after a transaction. Its mark is `NO_MARK` if there is no such transaction, or its outcome was removed. */
export async function markedPlace(reader: KvReader, txId: TxId): Promise<MarkedPlace> {
  return { txId, mark: (await readOutcome(reader, txId))?.mark ?? NO_MARK };
}

/** Throws `REQUEST_INVALID` if the history no longer contains the place of a cursor, which the index has reached. */
async function requirePlace(reader: KvReader, { txId, mark }: MarkedPlace): Promise<void> {
  if (mark === (await markedPlace(reader, txId)).mark) return;
  throw new CairnError(
    "REQUEST_INVALID",
    "The cursor belongs to a history that the log has lost, or whose outcomes a policy has removed.",
    "Start the list again without a cursor, because the contents of earlier pages may no longer exist.",
  );
}

function digest(value: unknown): string {
  const text = JSON.stringify(value);
  return createHash("sha256").update(text).digest("base64url").slice(0, DIGEST_CHARACTERS);
}

export function notOfThisList(): CairnError {
  return new CairnError(
    "REQUEST_INVALID",
    "The cursor is not one of this list.",
    "Start again without a cursor, or follow the Link header unchanged: a cursor is valid only with the parameters for which it was returned (all except limit and those that say how to wait).",
  );
}
