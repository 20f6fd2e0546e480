import { setTimeout as delay } from "node:timers/promises";
import type { ClientChange } from "@cairn/client";
import { openWatch, readText, type SentEvent, watchEvents } from "@cairn/test-support/torture-watcher";

const READ_WITHIN_MS = 60_000;
const PAGE = 1_000;

/** The buckets whose every change the model knows. No history of theirs is ever removed. */
export const TRACKED = ["things", "orders", "jobs"] as const;
/** All buckets of a life. */
export const BUCKETS = [...TRACKED, "bounded", "secrets", "counters"] as const;

/** The transactions that a watch sent, with their changes of one bucket. */
export type Feed = ReadonlyMap<number, readonly ClientChange[]>;

/** The refusal of a watch that cannot resume where it was. */
export class RefusedWatch extends Error {}

/** Opens a watch of a bucket, and yields its events until it ends or breaks, or `signal` aborts. */
export async function* watch(
  url: string,
  bucket: string,
  from: string,
  signal: AbortSignal,
): AsyncGenerator<SentEvent> {
  const response = await openWatch(url, new URLSearchParams({ bucket, from, heartbeat: "PT0.3S" }), signal);
  if (response === undefined) return;
  if (response.statusCode === 410) throw new RefusedWatch(await readText(response));
  if (response.statusCode === 200) yield* watchEvents(response);
  response.destroy();
}

/** Reads all changes of a bucket up to a transaction. Throws if one is sent twice or out of order. */
export async function readFeed(url: string, bucket: string, until: number): Promise<Feed> {
  const feed = new Map<number, readonly ClientChange[]>();
  let last = 0;
  const signal = AbortSignal.timeout(READ_WITHIN_MS);
  for await (const { event, data } of watch(url, bucket, "0", signal)) {
    if (event === "tx") {
      if (data.txId <= last) throw new Error(`a watch sent transaction ${data.txId} after ${last}`);
      last = data.txId;
      feed.set(data.txId, data.changes ?? []);
    }
    if (event === "cutoff") throw new Error(`a watch was cut off: ${JSON.stringify(data)}`);
    if (data.txId >= until) return feed;
  }
  throw new Error(`a watch of ${bucket} ended before transaction ${until}`);
}

/** Documents by their addresses, each with its revision, as text. */
export type Documents = ReadonlyMap<string, string>;

/** Lists the documents of a bucket, as of a transaction if one is given. */
export async function readDocuments(url: string, bucket: string, asOf?: number): Promise<Documents> {
  const found = new Map<string, string>();
  let next: string | undefined =
    `/api/v1/${bucket}?limit=${PAGE}${asOf === undefined ? "" : `&as-of=${asOf}`}`;
  while (next !== undefined) {
    const answer: Response = await fetch(`${url}${next}`, { signal: AbortSignal.timeout(READ_WITHIN_MS) });
    const body = (await answer.json()) as {
      namespace: string;
      name: string;
      revision: number;
      document: unknown;
    }[];
    if (!answer.ok) throw new Error(`${next}: ${answer.status} ${JSON.stringify(body)}`);
    for (const { namespace, name, revision, document } of body)
      found.set(`${namespace}/${name}`, `${revision} ${JSON.stringify(document)}`);
    next = /<([^>]*)>; rel="next"/.exec(answer.headers.get("link") ?? "")?.[1];
  }
  return found;
}

/**
 * Reads the own index of a node once it contains a transaction: the columns of each document by its address, as text.
 * Throws if the index does not get there.
 */
export async function readOwnIndex(url: string, minTx: number): Promise<Documents> {
  const sql = "select namespace || '/' || name, revision, state, uid, n from things";
  for (const deadline = Date.now() + READ_WITHIN_MS; ; await delay(200)) {
    const answer = await fetch(`${url}/api/v1/sql/things?min-tx=${minTx}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ sql }),
      signal: AbortSignal.timeout(READ_WITHIN_MS),
    });
    const body = (await answer.json()) as { rows?: [string, ...unknown[]][]; error?: { code: string } };
    if (body.rows !== undefined)
      return new Map(body.rows.map(([address, ...columns]) => [address, JSON.stringify(columns)]));
    // An index that is being built answers nothing.
    if (body.error?.code !== "NOT_READY" || Date.now() > deadline)
      throw new Error(`the own index answered ${answer.status} ${JSON.stringify(body)}`);
  }
}

/** Returns the documents that follow from a feed, up to a transaction. */
export function foldOf(feed: Feed, until = Infinity): Documents {
  const found = new Map<string, string>();
  for (const [txId, changes] of feed) {
    if (txId > until) break;
    for (const change of changes) {
      const key = `${change.namespace}/${change.name}`;
      if (change.op === "put") found.set(key, `${txId} ${JSON.stringify(change.document)}`);
      else found.delete(key);
    }
  }
  return found;
}

/** Returns the first difference of two maps; undefined if they are equal. */
export function difference(
  one: ReadonlyMap<unknown, unknown>,
  other: ReadonlyMap<unknown, unknown>,
): string | undefined {
  for (const key of new Set([...one.keys(), ...other.keys()])) {
    const [a, b] = [JSON.stringify(one.get(key)), JSON.stringify(other.get(key))];
    if (a !== b) return `${String(key)}: ${a} and ${b}`;
  }
  return undefined;
}
