import { NatsOperator } from "@cairn/log-nats/testing";

/** A transaction as watchers must receive it, and the events that it recorded. */
export interface CommittedTransaction {
  readonly txId: number;
  /** The changes, each as `op bucket key document`. */
  readonly changes: readonly string[];
  /** The events, each as `object reason`. */
  readonly events: readonly string[];
}

type LoggedOperation = readonly [op: string, bucket: string, key: string, revision?: number | null];

/**
 * Returns the transactions that took effect, as read from the log's messages according to docs/internals/log-format.md,
 * without any part of a node.
 */
export async function committedTransactions(natsUrl: string): Promise<readonly CommittedTransaction[]> {
  return await NatsOperator.at(natsUrl, async (operator) => {
    const committed: CommittedTransaction[] = [];
    const revisions = new Map<string, number>();
    const ids = new Set<string>();
    for await (const { position: txId, payload } of operator.messages()) {
      const [, first = "", ...lines] = Buffer.from(payload).toString("utf8").split("\n");
      const { ops = [], id } = JSON.parse(first) as { ops?: readonly LoggedOperation[]; id?: string };
      if (id !== undefined && ids.has(id)) continue;
      if (id !== undefined) ids.add(id);
      const isLost = ops.some(
        ([op, bucket, key, revision]) =>
          op === "match" && (revisions.get(`${bucket} ${qualified(key)}`) ?? null) !== revision,
      );
      if (isLost) continue;
      const [changes, events]: [string[], string[]] = [[], []];
      for (const [op, bucket, key] of ops) {
        if (op === "event") events.push(eventText(lines.shift() ?? ""));
        else if (op === "put") {
          changes.push(`put ${bucket} ${qualified(key)} ${lines.shift()}`);
          revisions.set(`${bucket} ${qualified(key)}`, txId);
        } else if (op === "delete" && revisions.delete(`${bucket} ${qualified(key)}`)) {
          changes.push(`delete ${bucket} ${qualified(key)}`);
        }
      }
      committed.push({ txId, changes, events });
    }
    return committed;
  });
}

function qualified(key: string): string {
  return key.includes("/") ? key : `default/${key}`;
}

function eventText(json: string): string {
  const { object, reason } = JSON.parse(json) as { object: string; reason: string };
  return `${object} ${reason}`;
}
