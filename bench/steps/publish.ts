import { connect } from "nats";
import type { Figures } from "../harness/figures.ts";
import { latencyFigures } from "./http-writes.ts";

const PAYLOAD = new Uint8Array(400).fill(0x78);
const WARMUP_MS = 1_000;

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
  const latencies: number[] = [];
  const measureFrom = performance.now() + WARMUP_MS;
  const measureTo = measureFrom + seconds * 1_000;
  const publish = async (): Promise<void> => {
    for (let at = performance.now(); at < measureTo;) {
      await jetstream.publish(stream, PAYLOAD);
      const end = performance.now();
      if (at >= measureFrom && end <= measureTo) latencies.push(end - at);
      at = end;
    }
  };
  await Promise.all(Array.from({ length: concurrent }, publish));
  await manager.streams.delete(stream);
  await connection.close();
  return latencyFigures("puts/s", latencies, seconds);
}
