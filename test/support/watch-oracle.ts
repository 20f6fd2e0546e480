import { createHash } from "node:crypto";
import { crc32 } from "node:zlib";
import type { ClientChange } from "@cairn/client";
import type { LogMessage, Position } from "@cairn/node";

/** A transaction as watchers must receive it. Each change is `op bucket namespace/name document`. */
export interface ExpectedTransaction {
  readonly txId: number;
  readonly changes: readonly string[];
}

type LoggedOperation = readonly [op: string, bucket: string, key: string, revision?: number | null];

/** What watchers of a log can receive. */
export interface WatchedHistory {
  readonly transactions: readonly ExpectedTransaction[];
  /** The transaction ids of all positions. */
  readonly positions: ReadonlyMap<Position, number>;
  readonly end: Position;
}

export const NO_HISTORY: WatchedHistory = { transactions: [], positions: new Map([["0", 0]]), end: "0" };

/**
 * Reads the history of a log that does not continue another one, without using any part of a node. `isApplied` tells
 * which messages nodes apply.
 */
export async function watchedHistory(
  messages: AsyncIterable<LogMessage> | Iterable<LogMessage>,
  isApplied: (message: LogMessage) => boolean = () => true,
): Promise<WatchedHistory> {
  const positions = new Map(NO_HISTORY.positions);
  let { end } = NO_HISTORY;
  const counted = async function* (): AsyncGenerator<LogMessage> {
    for await (const message of messages) {
      end = positionAfter(message);
      positions.set(end, message.position);
      if (isApplied(message)) yield message;
    }
  };
  return { transactions: await expectedTransactions(counted()), positions, end };
}

/** Computes the position after a message as docs/internals/log-format.md describes it. */
function positionAfter({ position, time, nanoseconds = 0, payload }: LogMessage): Position {
  const bytes = Buffer.from(payload);
  const isWhole =
    bytes.toString("latin1", 0, 17) === `cairn/1 ${crc32(bytes.subarray(17)).toString(16).padStart(8, "0")} `;
  const digits = isWhole
    ? bytes.toString("latin1", 34, 50)
    : createHash("sha256").update(bytes).digest("hex").slice(8, 24);
  const random = BigInt(`0x${digits}`);
  const seconds = Math.floor(time / 1_000);
  const rest = (time - seconds * 1_000) * 1_000_000 + nanoseconds;
  const mark = BigInt.asUintN(48, random ^ ((BigInt(seconds) << 32n) | BigInt(rest)));
  return `${position}-${mark.toString(16).padStart(12, "0")}`;
}

/** The changes that a watcher watches. By default, it watches all changes. */
export interface WatchFilter {
  readonly bucket?: string;
  readonly namespace?: string;
}

/**
 * Returns the transactions that a watcher received from the position `begin` up to `position` if nothing was lost or
 * repeated: those of the history that contains the last position. Throws if no history contains both.
 */
export function transactionsBetween(
  histories: readonly WatchedHistory[],
  { begin, position }: { readonly begin: Position; readonly position: Position },
  filter: WatchFilter,
): readonly ExpectedTransaction[] {
  const history = histories.find(({ positions }) => positions.has(position));
  const [first, last] = [begin, position].map((one) => history?.positions.get(one));
  if (history === undefined || first === undefined || last === undefined)
    throw new Error(`no history contains both ${begin} and ${position}`);
  return history.transactions.flatMap(({ txId, changes }) => {
    const watched = changes.filter((change) => matches(change, filter));
    return txId > first && txId <= last && watched.length > 0 ? [{ txId, changes: watched }] : [];
  });
}

function matches(change: string, { bucket, namespace }: WatchFilter): boolean {
  const [, ofBucket, key = ""] = change.split(" ");
  return (bucket ?? ofBucket) === ofBucket && (namespace === undefined || key.startsWith(`${namespace}/`));
}

/** Returns a change as {@link ExpectedTransaction} contains it. */
export function changeText({ op, bucket, namespace, name, document }: ClientChange): string {
  return [op, bucket, `${namespace}/${name}`, ...(op === "put" ? [JSON.stringify(document)] : [])].join(" ");
}

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
