import { connect, type JsMsg } from "nats";
import type { FilledLog } from "../data/node-config.ts";
import type { Figures } from "../harness/figures.ts";
import { peakMemory } from "../harness/peak-memory.ts";

const MAX_MESSAGES = 5_000;
// The server disconnects a client for which more than 64 MB are waiting, which the client's consumer does not survive.
const MAX_BYTES = 16 << 20;

/** Reads a whole stream with the client's ordered pull consumer and does nothing with it: the limit for every indexer. */
export async function drainLog(log: FilledLog): Promise<Figures> {
  const begin = performance.now();
  let bytes = 0;
  const count = await drainMessages(log, (message) => {
    bytes += message.data.length;
  });
  const seconds = (performance.now() - begin) / 1000;
  if (bytes === 0) throw new Error("the stream is empty");
  return { "records/s": count / seconds, s: seconds, "peak MB": peakMemory() };
}

/**
 * Reads a whole stream with the client's ordered pull consumer. Calls `received` with each message, the number of
 * messages received so far, and the number of all messages, which is also returned.
 */
export async function drainMessages(
  { url, stream }: FilledLog,
  received: (message: JsMsg, count: number, total: number) => void,
): Promise<number> {
  const connection = await connect({ servers: url });
  const { state } = await (await connection.jetstreamManager()).streams.info(stream);
  const consumer = await connection.jetstream().consumers.get(stream);
  const { num_pending: total } = await consumer.info();
  const fitting = Math.floor(MAX_BYTES / (state.bytes / state.messages));
  let count = 0;
  for await (const message of await consumer.consume({ max_messages: Math.min(MAX_MESSAGES, fitting) })) {
    count += 1;
    received(message, count, total);
    if (count >= total) break;
  }
  await connection.close();
  return total;
}
