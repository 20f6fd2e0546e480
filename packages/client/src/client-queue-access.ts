import type { QueueAccess } from "./queues/queue-access.ts";
import type { ClientCalls } from "./types/client-calls.ts";

/** The nodes of a queue, as a client reaches them. */
export function queueAccess(
  client: Pick<ClientCalls, "transact" | "queue" | "openEntries" | "watch">,
): QueueAccess {
  return {
    transact: async (transaction, signal) => await client.transact(transaction, { signal }),
    queue: async (name, signal) => await client.queue(name, { signal }),
    openEntries: async ({ queue, shard, ...query }, signal) =>
      await client.openEntries(queue, shard, { ...query, signal }),
    watch: (bucket, from, signal) => client.watch({ bucket, from, signal }),
  };
}
