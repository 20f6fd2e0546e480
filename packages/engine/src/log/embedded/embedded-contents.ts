import { CairnError, type KvOperation } from "@cairn/kv";
import {
  batchOf,
  decodeHead,
  decodeRemoval,
  deletionOf,
  encodeHead,
  type Head,
  HEAD_KEY,
  isLastOfBatch,
  positionKey,
  POSITIONS,
  positionOf,
  REMOVAL_KEY,
  removalRow,
} from "./embedded-rows.ts";
import { damaged, type Database } from "./embedded-database.ts";
import { FORMAT_1 } from "./format-1.ts";
import { MESSAGE_ID_WINDOW_MS } from "../tx-log.ts";

/** The maximum number of keys that one batch removes. A batch of that size takes about 100 kB. */
const KEYS_PER_BATCH = 10_000;

export interface LogContents {
  readonly head: Head | undefined;
  /** The positions of the first and the last message; 1 and 0 if there are none. */
  readonly first: number;
  readonly last: number;
  /** A batch that makes a log of format 1 one of this format; undefined if it is one. */
  readonly upgrade: readonly KvOperation[] | undefined;
}

/** Throws `CONFIG_INVALID` (not a log), `LOG_DIFFERENT` (another version's), `LOG_GAP` (lacks its newest messages). */
export async function readContents(database: Database): Promise<LogContents> {
  const value = await database.get(HEAD_KEY);
  const former = value === undefined ? await database.get(FORMAT_1.headKey) : undefined;
  if (value === undefined && former === undefined) {
    const keys = await database.keys({ limit: 1 }).all();
    if (keys.length === 0) return { head: undefined, first: 1, last: 0, upgrade: undefined };
    throw new CairnError(
      "CONFIG_INVALID",
      `The folder ${database.location} holds a database that is not a log.`,
      "Configure a separate folder for the log.",
    );
  }
  const [firstKey] = await database.keys({ ...POSITIONS, limit: 1 }).all();
  const [lastKey] = await database.keys({ ...POSITIONS, reverse: true, limit: 1 }).all();
  const first = firstKey === undefined ? 1 : positionOf(firstKey);
  const last = lastKey === undefined ? 0 : positionOf(lastKey);
  const id = former === undefined ? undefined : FORMAT_1.logId(former);
  if (id !== undefined) {
    const ending = await database.get(FORMAT_1.endKey);
    requireLast(database, last, ending === undefined ? undefined : FORMAT_1.last(ending));
    const head = { id, endsFrom: last + 1 };
    return { head, first, last, upgrade: upgradeTo(head, last) };
  }
  const head = decodeHead(database.location, value ?? former ?? new Uint8Array(0));
  await checkLast(database, head, last);
  return { head, first, last, upgrade: undefined };
}

function upgradeTo(head: Head, last: number): KvOperation[] {
  const former = [FORMAT_1.headKey, FORMAT_1.endKey].map(deletionOf);
  return batchOf([...former, { type: "put", key: HEAD_KEY, value: encodeHead(head) }], [removalRow(last)]);
}

/** Throws `LOG_GAP` unless the log ends with a whole batch, and not before the last position that was recorded. */
async function checkLast(database: Database, { endsFrom }: Head, last: number): Promise<void> {
  const removal = await database.get(REMOVAL_KEY);
  const recorded = removal === undefined ? 0 : decodeRemoval(removal);
  const value = await database.get(positionKey(last));
  const isWhole = value !== undefined && (last < endsFrom || isLastOfBatch(value));
  requireLast(database, last, isWhole ? Math.max(last, recorded) : undefined);
}

function requireLast(database: Database, last: number, recorded: number | undefined): void {
  if (recorded === last) return;
  const lost = `${last + 1} to ${Math.max(recorded ?? 0, last + 1)}`;
  throw damaged(`The log in ${database.location} lost its messages ${lost}.`);
}

/** Yields the keys of a range in order, in arrays of at most {@link KEYS_PER_BATCH} keys. */
export async function* keysBetween(
  database: Database,
  range: { readonly gte: Uint8Array; readonly lt: Uint8Array },
): AsyncGenerator<readonly Uint8Array[], void, void> {
  const iterator = database.keys(range);
  try {
    for (;;) {
      const keys = await iterator.nextv(KEYS_PER_BATCH);
      if (keys.length === 0) return;
      yield keys;
    }
  } finally {
    await iterator.close();
  }
}

/** An id is kept for one to two windows: dropping whole generations costs less than storing a time for each id. */
export class MessageIdMemory {
  #young = new Map<string, number>();
  #old = new Map<string, number>();
  #since = Number.POSITIVE_INFINITY;

  get(id: string): number | undefined {
    return this.#young.get(id) ?? this.#old.get(id);
  }

  /** Remembers `id`, which was stored at `time` (ms). If the clock is set back, ids are merely kept longer. */
  add(id: string, position: number, time: number): void {
    this.#since = Math.min(this.#since, time);
    if (time - this.#since >= MESSAGE_ID_WINDOW_MS) {
      this.#old = time - this.#since >= 2 * MESSAGE_ID_WINDOW_MS ? new Map() : this.#young;
      this.#young = new Map();
      this.#since = time;
    }
    this.#young.set(id, position);
  }
}
