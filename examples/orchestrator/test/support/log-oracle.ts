import { NatsOperator } from "@cairn/node/testing";

/** What a transaction has to be told as, and the events that it recorded. */
export interface ToldTransaction {
  readonly txId: number;
  /** Each `op bucket key document`. */
  readonly changes: readonly string[];
  /** Each `object reason`. */
  readonly events: readonly string[];
}

type LoggedOperation = readonly [op: string, bucket: string, key: string, revision?: number | null];

/** What took effect, from the log's messages as docs/log-format.md describes them, without any part of a node. */
export async function whatTookEffect(natsUrl: string): Promise<readonly ToldTransaction[]> {
  return await NatsOperator.at(natsUrl, async (operator) => {
    const told: ToldTransaction[] = [];
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
      told.push({ txId, changes, events });
    }
    return told;
  });
}

function qualified(key: string): string {
  return key.includes("/") ? key : `default/${key}`;
}

function eventText(json: string): string {
  const { object, reason } = JSON.parse(json) as { object: string; reason: string };
  return `${object} ${reason}`;
}
