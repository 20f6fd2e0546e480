import { connect } from "nats";
import type { FilledLog } from "../data/node-config.ts";
import { peakMemory } from "../harness/peak-memory.ts";
import type { Figures } from "../harness/figures.ts";

/** Loads every key of a NATS KV bucket with its `watch`, without keeping any. */
export async function watchBucket({ url, stream }: FilledLog): Promise<Figures> {
  const begin = performance.now();
  const connection = await connect({ servers: url });
  const bucket = await connection.jetstream().views.kv(stream, { bindOnly: true });
  let count = 0;
  const watch = async (initializedFn: () => void): Promise<void> => {
    for await (const { value } of await bucket.watch({ initializedFn })) if (value.length > 0) count += 1;
  };
  const loaded = new Promise<void>((resolve, reject) => {
    void watch(() => resolve()).catch(reject);
  });
  await loaded;
  const seconds = (performance.now() - begin) / 1000;
  await connection.close();
  return { s: seconds, "records/s": count / seconds, "peak MB": peakMemory() };
}
