import type { LogMessage } from "@cairn/node";

/** A transaction as watchers must receive it. Each change is `op bucket namespace/name document`. */
export interface ExpectedTransaction {
  readonly txId: number;
  readonly changes: readonly string[];
}

type LoggedOperation = readonly [op: string, bucket: string, key: string, revision?: number | null];

/**
 * Returns the transactions that watchers must receive, read from the log's messages as docs/internals/log-format.md
 * describes them, without using any part of a node.
 */
export async function expectedTransactions(
  messages: AsyncIterable<LogMessage>,
): Promise<readonly ExpectedTransaction[]> {
  const expected: ExpectedTransaction[] = [];
  const revisions = new Map<string, number>();
  const ids = new Set<string>();
  for await (const { position: txId, payload } of messages) {
    const [, first = "", ...documents] = Buffer.from(payload).toString("utf8").split("\n");
    const { ops = [], id } = JSON.parse(first) as { ops?: readonly LoggedOperation[]; id?: string };
    if (id !== undefined && ids.has(id)) continue;
    if (id !== undefined) ids.add(id);
    const isLost = ops.some(
      ([op, bucket, key, revision]) =>
        op === "match" && (revisions.get(`${bucket} ${key}`) ?? null) !== revision,
    );
    if (isLost) continue;
    const changes: string[] = [];
    for (const [op, bucket, key] of ops) {
      const name = `${bucket} ${key}`;
      if (op === "put") {
        changes.push(`put ${name} ${documents.shift() ?? ""}`);
        revisions.set(name, txId);
      } else if (op === "configure") documents.shift();
      else if (op === "delete" && revisions.delete(name)) changes.push(`delete ${name}`);
    }
    if (changes.length > 0) expected.push({ txId, changes });
  }
  return expected;
}
