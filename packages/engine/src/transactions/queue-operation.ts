import type { EntryOptions, Revision } from "@cairn/client";
import { splitKey, LIMITS } from "@cairn/client/protocol";
import { bucketProblem, keyProblem } from "@cairn/text";

/** An operation on a queue as the log contains it. The document of an enqueued entry is on its own line. */
export type LoggedQueueOperation =
  | readonly [op: "claim" | "drain", queue: string, shard: number, options: { readonly as: string }]
  | readonly [op: "renew" | "release" | "retire", queue: string, shard: number, hold: Revision | EntryOptions]
  | readonly [op: "enqueue", queue: string, name: string]
  | readonly [op: "move", queue: string, key: string, toShard: number, hold: Revision | EntryOptions];

/** The number of parts of each operation, including its name. */
const PARTS: ReadonlyMap<unknown, number> = new Map(
  Object.entries({ claim: 4, renew: 4, release: 4, enqueue: 4, drain: 4, move: 5, retire: 4 }),
);

export function isQueueOperation(name: unknown): name is LoggedQueueOperation[0] {
  return PARTS.has(name);
}

/**
 * Returns the reason why an operation with such a name is invalid, except for its document; undefined if it is valid.
 * In the log, an enqueue has no document. The wording is part of the index version.
 */
export function queueOperationProblem(op: readonly unknown[], isLogged: boolean): string | undefined {
  const [name, queue, shardOrKey, third, fourth] = op;
  const parts = (PARTS.get(name) ?? 0) - (isLogged && name === "enqueue" ? 1 : 0);
  if (op.length !== parts) return `${String(name)} has ${parts} parts, this one has ${op.length}`;
  const queueIssue = bucketProblem(queue);
  if (queueIssue !== undefined) return queueIssue;
  switch (name) {
    case "enqueue":
      return typeof shardOrKey === "string" ? keyProblem("0", shardOrKey) : "the name of an entry is text";
    case "move":
      return movedKeyProblem(shardOrKey) ?? shardProblem(third) ?? holdProblem(fourth, isLogged);
    case "claim":
    case "drain":
      if (!isMapOf(third, "as")) return shardProblem(shardOrKey) ?? 'the last part is {"as": name}';
      return shardProblem(shardOrKey) ?? asProblem(third["as"]);
    default:
      return shardProblem(shardOrKey) ?? holdProblem(third, isLogged);
  }
}

export function entryOptionsProblem(options: unknown): string | undefined {
  if (isMapOf(options, "epoch") || isMapOf(options, "epoch", "as")) return holdProblem(options, false);
  return 'the last part of a write is {"epoch": number} if there is one';
}

/**
 * Returns an operation as the log contains it: its hold, if it is without a name, as the epoch alone. To nodes of 0.1.0,
 * other messages are unreadable, so they are to all, because a message means the same to every node.
 */
export function loggedQueueOperation(op: readonly unknown[]): readonly unknown[] {
  const hold = op.at(-1);
  return isMapOf(hold, "epoch") ? [...op.slice(0, -1), hold["epoch"]] : op;
}

/** Returns what an operation contains as an epoch or a hold as a hold. */
export function asHold(hold: Revision | EntryOptions): EntryOptions {
  return typeof hold === "number" ? { epoch: hold } : hold;
}

/** A thing that an operation on a queue changes, and that only one operation of a transaction may change. */
export interface QueueWrite {
  /** A text that no key of another bucket equals. */
  readonly id: string;
  readonly shown: string;
}

export function queueWrite(op: readonly [name: LoggedQueueOperation[0], ...rest: unknown[]]): QueueWrite {
  const [name, queue, target] = op as readonly [LoggedQueueOperation[0], string, string | number];
  if (name === "move") return { id: `${queue}/${target}`, shown: `${queue} ${target}` };
  if (name === "enqueue") return { id: `${queue}//${target}`, shown: `${queue} ${target}` };
  return { id: `${queue}/${target}/`, shown: `${queue} shard ${target}` };
}

function movedKeyProblem(key: unknown): string | undefined {
  if (typeof key !== "string" || !key.includes("/")) return "the key of an entry is text: shard/name";
  const { namespace, name } = splitKey(key);
  return keyProblem(namespace, name);
}

function shardProblem(shard: unknown): string | undefined {
  const isShard = Number.isSafeInteger(shard) && (shard as number) >= 0 && (shard as number) < LIMITS.shards;
  return isShard ? undefined : `a shard is a whole number from 0 to ${LIMITS.shards - 1}`;
}

/** A hold is an epoch, or a map of an epoch and, if it is to count, the name of the holder. */
function holdProblem(hold: unknown, isLogged: boolean): string | undefined {
  if (!isLogged && isMapOf(hold, "epoch")) return epochProblem(hold["epoch"]);
  if (!isMapOf(hold, "epoch", "as")) return epochProblem(hold);
  return epochProblem(hold["epoch"]) ?? asProblem(hold["as"]);
}

function epochProblem(epoch: unknown): string | undefined {
  return Number.isSafeInteger(epoch) && (epoch as number) > 0
    ? undefined
    : "an epoch is a positive integer: the id of the transaction that claimed or began to drain the shard";
}

function asProblem(as: unknown): string | undefined {
  if (typeof as !== "string" || as.length === 0 || Buffer.byteLength(as) > LIMITS.asBytes) {
    return `"as" is text of 1 to ${LIMITS.asBytes} bytes`;
  }
  return as.isWellFormed() ? undefined : '"as" must be valid Unicode';
}

function isMapOf(value: unknown, ...names: readonly string[]): value is Record<string, unknown> {
  if (value === null || typeof value !== "object" || Array.isArray(value)) return false;
  return Object.keys(value).length === names.length && names.every((name) => Object.hasOwn(value, name));
}
