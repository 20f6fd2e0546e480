import { CairnError } from "@cairn/kv";
import { isDamagedMessage } from "../../transactions/message-frame.ts";
import { lastOfBatch } from "./embedded-batch.ts";
import { damagedMessage, type Database, lostMessages } from "./embedded-database.ts";
import {
  BATCH_END_KEY,
  decodeHead,
  decodeRow,
  HEAD_KEY,
  MESSAGE_IDS,
  POSITIONS_END,
  positionOf,
} from "./embedded-row.ts";
import { MESSAGE_ID_WINDOW_MS, MessageIdMemory } from "../message-id-memory.ts";
import type { LogMessage, LogReadOptions } from "../tx-log.ts";

/** A batch of their removals has some 100 kB. */
const KEYS_TOGETHER = 10_000;

/** What a log has to know of its database before it can go on. */
export interface LogContents {
  /** Undefined while the log has not begun. */
  readonly logId: string | undefined;
  /** Positions of the first message and of the last; 1 and 0 where there is none. */
  readonly first: number;
  readonly last: number;
  readonly messageIds: MessageIdMemory;
  /** The newest row of a message id that is too old to count, if there is one: all up to it can go. */
  readonly forgotten: Uint8Array | undefined;
}

/**
 * Learns the log's id, bounds and recent message ids from what is stored. Throws `CONFIG_INVALID` when the database is not a log,
 * `INDEX_VERSION` when it is another version's, `LOG_GAP` when its newest messages are not there.
 */
export async function learnContents(database: Database): Promise<LogContents> {
  const head = await database.get(HEAD_KEY);
  const [firstKey] = await database.keys({ limit: 1 }).all();
  if (head === undefined && firstKey !== undefined) {
    throw new CairnError(
      "CONFIG_INVALID",
      `The folder ${database.location} holds a database that is not a log.`,
      {
        hint: "Give the log a folder of its own.",
      },
    );
  }
  const [lastKey] = await database.keys({ lt: POSITIONS_END, reverse: true, limit: 1 }).all();
  const logId = head === undefined ? undefined : decodeHead(database.location, head);
  const last = lastKey === undefined ? 0 : positionOf(lastKey);
  if (logId !== undefined) await checkLast(database, last);
  return {
    logId,
    // Without messages the first key is the head's.
    first: firstKey === undefined || lastKey === undefined ? 1 : positionOf(firstKey),
    last,
    ...(await recentMessageIds(database)),
  };
}

/** Each batch says in its last row where the log ends with it. */
async function checkLast(database: Database, last: number): Promise<void> {
  const ending = await database.get(BATCH_END_KEY);
  const stored = ending === undefined ? undefined : lastOfBatch(ending);
  if (stored !== last) throw lostMessages(database.location, last + 1, Math.max(stored ?? 0, last + 1));
}

async function recentMessageIds(
  database: Database,
): Promise<{ readonly messageIds: MessageIdMemory; readonly forgotten: Uint8Array | undefined }> {
  const oldest = Date.now() - MESSAGE_ID_WINDOW_MS;
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

/** The message in a row; `LOG_GAP` when it is not what was written, which LevelDB does not find out. */
export function wholeMessage(database: Database, position: number, value: Uint8Array): LogMessage {
  const message = decodeRow(position, value);
  if (isDamagedMessage(message.payload)) throw damagedMessage(database.location, position);
  return message;
}

/** The keys of a range in the order of the keys, so many at a time as one batch may remove. */
export async function* keysBetween(
  database: Database,
  range: { readonly gte: Uint8Array; readonly lt?: Uint8Array; readonly lte?: Uint8Array },
): AsyncGenerator<readonly Uint8Array[], void, void> {
  const iterator = database.keys(range);
  try {
    for (;;) {
      const keys = await iterator.nextv(KEYS_TOGETHER);
      if (keys.length === 0) return;
      yield keys;
    }
  } finally {
    await iterator.close();
  }
}

/** The messages stored from `from` on, as of the call; the next array is read while the caller works on one. */
export async function* storedMessages(
  database: Database,
  from: Uint8Array,
  { maxMessages = 5_000, maxBytes = 8 * 1024 * 1024 }: LogReadOptions,
): AsyncGenerator<readonly LogMessage[], void, void> {
  const iterator = database.iterator({ gte: from, lt: POSITIONS_END, highWaterMarkBytes: maxBytes });
  let ahead = iterator.nextv(maxMessages);
  try {
    for (;;) {
      const rows = await ahead;
      if (rows.length === 0) return;
      ahead = iterator.nextv(maxMessages);
      yield rows.map(([key, value]) => wholeMessage(database, positionOf(key), value));
    }
  } finally {
    await Promise.allSettled([ahead]);
    await iterator.close();
  }
}
