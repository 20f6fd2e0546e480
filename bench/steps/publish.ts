import { connect } from "nats";
import type { Figures } from "../harness/figures.ts";
import { timeCalls } from "../harness/latencies.ts";

const PAYLOAD = new Uint8Array(400).fill(0x78);

/**
 * Publishes messages to a stream from `concurrent` publishers, each of which waits until its previous message is
 * stored.
 */
export async function publishSteadily({
  url,
  stream,
  concurrent,
  seconds,
}: {
  readonly url: string;
  readonly stream: string;
  readonly concurrent: number;
  readonly seconds: number;
}): Promise<Figures> {
  const connection = await connect({ servers: url });
  const manager = await connection.jetstreamManager();
  await manager.streams.add({ name: stream, subjects: [stream] });
  const jetstream = connection.jetstream();
  const figures = await timeCalls("puts/s", { callers: concurrent, seconds }, async () => {
    await jetstream.publish(stream, PAYLOAD);
  });
  await manager.streams.delete(stream);
  await connection.close();
  return figures;
}
