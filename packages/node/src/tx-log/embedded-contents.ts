import { CairnError } from "@cairn/kv";
import type { Database } from "./embedded-database.ts";
import { decodeRow, LOG_ID_KEY, messageIdOf, POSITIONS_END, positionOf } from "./embedded-row.ts";
import { MESSAGE_ID_WINDOW_MS, MessageIdMemory } from "./message-id-memory.ts";
import type { LogMessage, LogReadOptions } from "./tx-log.ts";

/** What a log has to know of its database before it can go on. */
export interface LogContents {
  readonly logId: string | undefined;
  readonly first: number;
  readonly last: number;
  readonly messageIds: MessageIdMemory;
}

/** Learns the log's id, bounds and recent message ids from what is stored. */
export async function learnContents(database: Database): Promise<LogContents> {
  const id = await database.get(LOG_ID_KEY);
  const [firstKey] = await database.keys({ lt: POSITIONS_END, limit: 1 }).all();
  if (id === undefined && firstKey !== undefined) {
    throw new CairnError(
      "CONFIG_INVALID",
      `The folder ${database.location} holds a database that is not a log.`,
      {
        hint: "Give the log a folder of its own.",
      },
    );
  }
  const oldest = Date.now() - MESSAGE_ID_WINDOW_MS;
  const recent: [id: string, position: number, time: number][] = [];
  let last = 0;
  for await (const [key, value] of database.iterator({ lt: POSITIONS_END, reverse: true })) {
    const { position, time } = decodeRow(positionOf(key), value);
    last = Math.max(last, position);
    if (time < oldest) break;
    const messageId = messageIdOf(value);
    if (messageId !== undefined) recent.push([messageId, position, time]);
  }
  const messageIds = new MessageIdMemory();
  for (const [messageId, position, time] of recent.toReversed()) messageIds.add(messageId, position, time);
  return {
    logId: id === undefined ? undefined : Buffer.from(id).toString(),
    first: firstKey === undefined ? 1 : positionOf(firstKey),
    last,
    messageIds,
  };
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
      yield rows.map(([key, value]) => decodeRow(positionOf(key), value));
    }
  } finally {
    await Promise.allSettled([ahead]);
    await iterator.close();
  }
}
