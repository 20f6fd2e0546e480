import { createHash } from "node:crypto";
import { CairnError, type KvReader } from "@cairn/kv";
import { z } from "zod";
import type { DocumentKey, TxId } from "@cairn/client";
import { NO_MARK } from "../rows/chain-rows.ts";
import { readOutcome } from "../rows/outcome-rows.ts";
import type { ListSelection } from "./field-query.ts";
import { type MarkedPlace, parsedJson } from "@cairn/text";

/** The number of characters of a digest in a cursor. They suffice to distinguish two lists, or two histories. */
const DIGEST_CHARACTERS = 12;

const Id = z.int().min(0);

/** A transaction, and the mark of its message, because another history may contain the same id. */
const PLACE = { txId: Id, mark: z.string() };

/** A list continues after a row's key (in base64url), as of the transaction at which it began. */
export const listCursor = cursorOf(
  z.object({ ...PLACE, after: z.string() }),
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

/** The history of a document continues with the versions older than this revision. */
export const historyCursor = cursorOf(z.object(PLACE), ({ bucket, namespace, name }: DocumentKey) => [
  "history",
  bucket,
  namespace,
  name,
]);

/** A list of open entries continues after the entry with this origin. */
export const openEntriesCursor = cursorOf(
  z.object({ ...PLACE, at: Id.max(2 ** 32 - 1) }),
  ({ queue, shard }: { readonly queue: string; readonly shard: number }) => ["open", queue, shard],
);

/** A list of evictions continues with the rows before this key (in hex). */
export const evictionsCursor = cursorOf(
  z.object({ ...PLACE, before: z.string() }),
  (_of: Readonly<Record<string, never>>) => ["evictions"],
);

/**
 * The cursors of a kind of list: opaque strings that fit in a URL. `decode` throws `REQUEST_INVALID`, also for the
 * cursor of another list.
 */
function cursorOf<Point, List>(point: z.ZodType<Point>, identify: (list: List) => readonly unknown[]) {
  return {
    encode: (list: List, at: Point): string =>
      Buffer.from(JSON.stringify([digest(identify(list)), at]), "utf8").toString("base64url"),
    decode(list: List, text: string): Point {
      const parts = parsedJson(Buffer.from(text, "base64url").toString("utf8"));
      const [of, at] = (Array.isArray(parts) ? parts : []) as unknown[];
      const found = point.safeParse(at);
      if (of !== digest(identify(list)) || !found.success) throw notOfThisList();
      return found.data;
    },
  };
}

/** Returns the place after a transaction. Its mark is `NO_MARK` if there is no such transaction, or its outcome was removed. */
export async function markedPlace(reader: KvReader, txId: TxId): Promise<MarkedPlace> {
  return { txId, mark: (await readOutcome(reader, txId))?.mark ?? NO_MARK };
}

/** Throws `REQUEST_INVALID` if the history no longer contains the place of a cursor. */
export async function requirePlace(reader: KvReader, { txId, mark }: MarkedPlace): Promise<void> {
  if (mark === (await markedPlace(reader, txId)).mark) return;
  throw new CairnError(
    "REQUEST_INVALID",
    "The cursor belongs to a history that the log has lost, that this node has not reached yet, or whose outcomes a policy has removed.",
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
