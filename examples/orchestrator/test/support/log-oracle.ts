import { NatsOperator } from "@cairn/log-nats/testing";

/** A transaction that took effect, and the documents as of it. */
export interface CommittedTransaction {
  readonly txId: number;
  /** The changes, each as `op bucket key document`. */
  readonly changes: readonly string[];
  /** The events, each as `object reason`. */
  readonly events: readonly string[];
  /** The documents, each as `bucket key revision document`, sorted. */
  readonly documents: readonly string[];
}

type LoggedOperation = readonly [op: string, bucket: string, key: string, revision?: number | null];

/**
 * Returns the transactions that took effect, as read from the log's messages according to docs/internals/log-format.md,
 * without any part of a node.
 */
export async function committedTransactions(natsUrl: string): Promise<readonly CommittedTransaction[]> {
  return await NatsOperator.at(natsUrl, async (operator) => {
    const committed: CommittedTransaction[] = [];
    const documents = new Map<string, { readonly revision: number; readonly json: string }>();
    const ids = new Set<string>();
    for await (const { position: txId, payload } of operator.messages()) {
      const [, first = "", ...lines] = Buffer.from(payload).toString("utf8").split("\n");
      const { ops = [], id } = JSON.parse(first) as { ops?: readonly LoggedOperation[]; id?: string };
      if (id !== undefined && ids.has(id)) continue;
      if (id !== undefined) ids.add(id);
      const isLost = ops.some(
        ([op, bucket, key, revision]) =>
          op === "match" && (documents.get(addressOf(bucket, key))?.revision ?? null) !== revision,
      );
      if (isLost) continue;
      const [changes, events]: [string[], string[]] = [[], []];
      for (const [op, bucket, key] of ops) {
        if (op === "event") events.push(eventText(lines.shift() ?? ""));
        else if (op === "put") {
          const [address, json = ""] = [addressOf(bucket, key), lines.shift()];
          changes.push(`put ${address} ${json}`);
          documents.set(address, { revision: txId, json });
        } else if (op === "delete" && documents.delete(addressOf(bucket, key)))
          changes.push(`delete ${addressOf(bucket, key)}`);
      }
      const all = [...documents].map(([address, { revision, json }]) => `${address} ${revision} ${json}`);
      committed.push({ txId, changes, events, documents: all.toSorted() });
    }
    return committed;
  });
}

function addressOf(bucket: string, key: string): string {
  return `${bucket} ${key.includes("/") ? key : `default/${key}`}`;
}

function eventText(json: string): string {
  const { object, reason } = JSON.parse(json) as { object: string; reason: string };
  return `${object} ${reason}`;
}
