import type { CairnNode } from "@cairn/node";

const ALL = 1_000;
/** The number of transactions at the end whose outcomes and changes are compared. */
const NEWEST = 30;
const KEYS = [
  ["things", "space-1", "thing 4"],
  ["things", "space-0", "thing 3"],
  ["bounded", "default", "counter"],
  ["secrets", "default", "gone"],
  ["fleeting", "default", "a"],
] as const;
const QUERIES = [
  { where: { field: "state", value: "open" } },
  { where: { field: "n", is: ">=", value: 7 } },
  { order: "-n" },
] as const;

/** What is compared of them one by one; everything is compared as a whole. */
export interface Answers {
  readonly txId: number;
  readonly documents: Readonly<Record<string, unknown>>;
}

/**
 * Returns what a node answers about its content, as JSON, without what depends on this run: the places where evicted
 * bytes may still be.
 */
export async function answersOf(node: CairnNode): Promise<Answers> {
  const { txId, digest } = await node.digest();
  const { chains } = (await node.status()).index;
  const { buckets } = await node.buckets();
  const documents: Record<string, unknown> = {};
  for (const { name } of buckets) documents[name] = (await node.list({ bucket: name, limit: ALL })).documents;
  const histories: unknown[] = [];
  for (const [bucket, namespace, name] of KEYS)
    histories.push((await node.history({ bucket, namespace, name }, { limit: ALL })).versions);
  const outcomes: unknown[] = [];
  for (const id of [...idsFrom(1, 150), ...idsFrom(txId - NEWEST, txId)])
    outcomes.push(await node.outcome(id));
  const past: unknown[] = [];
  for (const asOf of [10, 30, 45])
    past.push((await node.list({ bucket: "things", limit: ALL, asOf: { txId: asOf } })).documents);
  const found: unknown[] = [];
  for (const query of QUERIES) found.push((await node.list({ bucket: "things", ...query })).documents);
  const { revision, policies } = await node.policies();
  const { evictions } = await node.evictions({ limit: ALL });
  const { events } = await node.events({ limit: ALL });
  const { queues } = await node.queues();
  const entries: unknown[] = [];
  for (const shard of [0, 1, 2])
    entries.push((await node.openEntries({ queue: "jobs", shard, limit: ALL })).entries);
  const evicted = evictions.map(({ txId: at, bucket, namespace, name }) => [at, bucket, namespace, name]);
  const changes = await changesOf(node, txId);
  const index = { txId, digest, chains, buckets, documents, histories, past, found };
  const answers = {
    ...index,
    outcomes,
    policies: { revision, policies },
    evicted,
    events,
    queues,
    entries,
    changes,
  };
  return JSON.parse(JSON.stringify(answers)) as Answers;
}

/** Returns what a watch reports of the newest transactions. */
async function changesOf(node: CairnNode, last: number): Promise<unknown[]> {
  const from = (await node.outcome(last - NEWEST))?.position;
  if (from === undefined) throw new Error(`transaction ${last - NEWEST} has no outcome`);
  const changes: unknown[] = [];
  for await (const event of node.watch({ from })) {
    if (event.type === "tx") changes.push(event);
    if (event.txId === last) break;
  }
  return changes;
}

function idsFrom(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, at) => first + at);
}
