import { systemClock, CairnError } from "@cairn/kv";
import {
  BATCH_END_KEY,
  decodeHead,
  decodeRow,
  HEAD_KEY,
  LATER_HEAD_KEY,
  MESSAGE_IDS,
  POSITIONS_END,
  positionOf,
  lastOfBatch,
} from "./embedded-rows.ts";
import { damaged, type Database } from "./embedded-database.ts";
import { type LogMessage, MESSAGE_ID_WINDOW_MS } from "../tx-log.ts";

/** The maximum number of keys that one batch removes. A batch of that size takes about 100 kB. */
const KEYS_PER_BATCH = 10_000;

export interface LogContents {
  readonly logId: string | undefined;
  /** The positions of the first and the last message; 1 and 0 if there are none. */
  readonly first: number;
  readonly last: number;
  readonly messageIds: MessageIdMemory;
  /** The key of the newest message-id row outside the window. That row and all earlier ones can be removed. */
  readonly forgotten: Uint8Array | undefined;
}

/** Throws `CONFIG_INVALID` (not a log), `LOG_DIFFERENT` (another version's), `LOG_GAP` (lacks its newest messages). */
export async function readContents(database: Database): Promise<LogContents> {
  const head = (await database.get(HEAD_KEY)) ?? (await database.get(LATER_HEAD_KEY));
  const [firstKey] = await database.keys({ limit: 1 }).all();
  if (head === undefined && firstKey !== undefined) {
    throw new CairnError(
      "CONFIG_INVALID",
      `The folder ${database.location} holds a database that is not a log.`,
      "Configure a separate folder for the log.",
    );
  }
  const [lastKey] = await database.keys({ lt: POSITIONS_END, reverse: true, limit: 1 }).all();
  const logId = head === undefined ? undefined : decodeHead(database.location, head);
  const last = lastKey === undefined ? 0 : positionOf(lastKey);
  if (logId !== undefined) await checkLast(database, last);
  return {
    logId,
    // If there are no messages, the first key is the key of the head.
    first: firstKey === undefined || lastKey === undefined ? 1 : positionOf(firstKey),
    last,
    ...(await recentMessageIds(database)),
  };
}

/** Throws `LOG_GAP` unless the log ends at the position that the last row of the newest batch records. */
async function checkLast(database: Database, last: number): Promise<void> {
  const ending = await database.get(BATCH_END_KEY);
  const stored = ending === undefined ? undefined : lastOfBatch(ending);
  if (stored === last) return;
  const lost = `${last + 1} to ${Math.max(stored ?? 0, last + 1)}`;
  throw damaged(`The log in ${database.location} lost its messages ${lost}.`);
}

async function recentMessageIds(
  database: Database,
): Promise<{ readonly messageIds: MessageIdMemory; readonly forgotten: Uint8Array | undefined }> {
  const oldest = systemClock.now() - MESSAGE_ID_WINDOW_MS;
  const recent: LogMessage[] = [];
  let forgotten: Uint8Array | undefined;
  for await (const [key, value] of database.iterator({ ...MESSAGE_IDS, reverse: true })) {
    const row = decodeRow(positionOf(key), value);
    if (row.time < oldest) {
      forgotten = key;
      break;
    }
    recent.push(row);
  }
  const messageIds = new MessageIdMemory();
  for (const { position, time, payload } of recent.toReversed()) {
    messageIds.add(Buffer.from(payload).toString(), position, time);
  }
  return { messageIds, forgotten };
}

/** Yields the keys of a range in order, in arrays of at most {@link KEYS_PER_BATCH} keys. */
export async function* keysBetween(
  database: Database,
  range: { readonly gte: Uint8Array; readonly lt?: Uint8Array; readonly lte?: Uint8Array },
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
