import { CairnError } from "@cairn/kv";
import { isDamagedMessage } from "../../transactions/message-frame.ts";
import { damagedMessage, type Database } from "./embedded-database.ts";
import { decodeHead, decodeRow, HEAD_KEY, MESSAGE_IDS, POSITIONS_END, positionOf } from "./embedded-row.ts";
import { MESSAGE_ID_WINDOW_MS, MessageIdMemory } from "../message-id-memory.ts";
import type { LogMessage, LogReadOptions } from "../tx-log.ts";

/** What a log has to know of its database before it can go on. */
export interface LogContents {
  /** Undefined while the log has not begun. */
  readonly logId: string | undefined;
  /** Positions of the first message and of the last; 1 and 0 where there is none. */
  readonly first: number;
  readonly last: number;
  readonly messageIds: MessageIdMemory;
}

/**
 * Learns the log's id, bounds and recent message ids from what is stored, and removes those ids that are too old to count.
 * Throws `CONFIG_INVALID` when the database is not a log, `INDEX_VERSION` when it is another version's.
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
  return {
    logId: head === undefined ? undefined : decodeHead(database.location, head),
    // Without messages the first key is the head's.
    first: firstKey === undefined || lastKey === undefined ? 1 : positionOf(firstKey),
    last: lastKey === undefined ? 0 : positionOf(lastKey),
    messageIds: await recentMessageIds(database),
  };
}

async function recentMessageIds(database: Database): Promise<MessageIdMemory> {
  const oldest = Date.now() - MESSAGE_ID_WINDOW_MS;
  const recent: LogMessage[] = [];
  for await (const [key, value] of database.iterator({ ...MESSAGE_IDS, reverse: true })) {
    const row = decodeRow(positionOf(key), value);
    if (row.time < oldest) {
      await database.clear({ gte: MESSAGE_IDS.gte, lte: key });
      break;
    }
    recent.push(row);
  }
  const messageIds = new MessageIdMemory();
  for (const { position, time, payload } of recent.toReversed()) {
    messageIds.add(Buffer.from(payload).toString(), position, time);
  }
  return messageIds;
}

/** The message in a row; `LOG_GAP` when it is not what was written, which LevelDB does not find out. */
export function wholeMessage(database: Database, position: number, value: Uint8Array): LogMessage {
  const message = decodeRow(position, value);
  if (isDamagedMessage(message.payload)) throw damagedMessage(database.location, position);
  return message;
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
