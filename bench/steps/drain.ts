import { connect } from "nats";
import type { FilledLog } from "../data/node-config.ts";
import type { Figures } from "../harness/figures.ts";
import { peakMemory } from "../harness/peak-memory.ts";

/** Reads a whole stream with the client's ordered pull consumer and does nothing with it: the limit for every indexer. */
export async function drainLog({ url, stream }: FilledLog): Promise<Figures> {
  const begin = performance.now();
  const connection = await connect({ servers: url });
  const consumer = await connection.jetstream().consumers.get(stream);
  const { num_pending: total } = await consumer.info();
  let count = 0;
  let bytes = 0;
  const messages = await consumer.consume({ max_messages: 5_000 });
  for await (const message of messages) {
    bytes += message.data.length;
    count += 1;
    if (count >= total) break;
  }
  const seconds = (performance.now() - begin) / 1000;
  await connection.close();
  if (bytes === 0) throw new Error("the stream is empty");
  return { "records/s": count / seconds, s: seconds, "peak MB": peakMemory() };
}
