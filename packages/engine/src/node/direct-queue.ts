import type { ClientTransaction, Json } from "@cairn/client";
import type { QueueAccess } from "@cairn/client/protocol";
import type { NodeApi } from "../api/node-api.ts";

/** The nodes of a queue, as a director in the process of one of them uses them. */
export function queueAccess(node: NodeApi): QueueAccess {
  return {
    transact: async (transaction) => await node.await(await node.submit(transaction)),
    queue: async (name) => (await node.queue(name)).queue,
    openEntries: async ({ cursor, ...query }) => {
      const page = await node.openEntries({ ...query, ...(cursor === undefined ? {} : { cursor }) });
      const entries = page.entries.map(({ document: { namespace, name, revision, json }, origin }) => ({
        shard: Number(namespace),
        name,
        revision,
        document: JSON.parse(json) as Json,
        createdTx: origin.txId,
      }));
      return { txId: page.txId, position: page.position, entries, next: page.cursor };
    },
    watch: (bucket, from, signal) => transactions(node, { bucket, from, signal }),
  };
}

async function* transactions(
  node: NodeApi,
  query: NonNullable<Parameters<NodeApi["watch"]>[0]>,
): AsyncGenerator<ClientTransaction, void, void> {
  for await (const event of node.watch(query)) {
    if (event.type !== "tx") continue;
    const { txId, txTime, position, changes } = event;
    yield {
      txId,
      txTime,
      position,
      changes: changes.map(({ json, ...change }) =>
        json === undefined ? change : { ...change, document: JSON.parse(json) as Json },
      ),
    };
  }
}
