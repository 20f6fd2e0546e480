import type { Json, Transaction, TxOperation } from "@cairn/client";
import type { Chance } from "../odd-values.ts";

const KEYS = 16;
const BUCKETS = ["nodes", "pods"] as const;
const NAMESPACES = ["default", "é", "a"] as const;
const STATES = ["on", "off", "done"] as const;
/**
 * Document sizes in bytes. Most fit many to a block, so that many of the bytes are keys; some documents fill several
 * blocks.
 */
const SIZES = [0, 0, 30, 30, 100, 100, 300, 300, 3_000, 3_000, 20_000] as const;

/** The first transaction of every history. The expiry is so short that documents expire within the history. */
export const POLICIES: Transaction = {
  ops: [
    [
      "configure",
      {
        indexes: { pods: ["state", "node.zone"], nodes: ["state"] },
        expire: { nodes: { when: { state: "done" }, after: 40 } },
        events: { keep: 12 },
      },
    ],
  ],
};

/**
 * Returns transactions on few keys, so that they interact: documents of several sizes, deletions, evictions, conditions, events. `name` is
 * the prefix of their ids.
 */
export function randomHistory(chance: Chance, count: number, name: string): Transaction[] {
  const transactions: Transaction[] = [];
  while (transactions.length < count) {
    const keys = new Set(Array.from({ length: 1 + chance.below(3) }, () => keyOf(chance)));
    const ops = [...keys].map((key) => operation(chance, chance.pick(BUCKETS), key));
    if (chance.next() < 0.1) ops.unshift(["match", "pods", keyOf(chance), chance.pick([null, 5, 9])]);
    if (chance.next() < 0.15) ops.push(["event", eventOf(chance)]);
    const id = chance.next() < 0.2 ? { id: `${name}-${transactions.length}` } : {};
    transactions.push({ ops, ...id });
  }
  return transactions;
}

/** Returns a put whose change shows a watcher that it has received everything. */
export function lastPut(chance: Chance, id: string): Transaction {
  return { ops: [["put", "pods", "default/last", document(chance)]], id };
}

function keyOf(chance: Chance): string {
  return `${chance.pick(NAMESPACES)}/k${chance.below(KEYS)}`;
}

function operation(chance: Chance, bucket: string, key: string): TxOperation {
  const kind = chance.next();
  if (kind < 0.78) return ["put", bucket, key, document(chance)];
  if (kind < 0.95) return ["delete", bucket, key];
  return ["evict", bucket, key];
}

function document(chance: Chance): Json {
  const size = chance.pick(SIZES);
  // Half of the strings compress, so that some blocks are stored compressed and others are not.
  const text = chance.next() < 0.5 ? "cairn ".repeat(size / 6) : noise(chance, size);
  return { state: chance.pick(STATES), node: { zone: chance.pick(["x", "y"]) }, text };
}

function noise(chance: Chance, length: number): string {
  const codes = Array.from({ length }, () => 33 + chance.below(90));
  return String.fromCharCode(...codes);
}

function eventOf(chance: Chance) {
  const event = { object: `pods/k${chance.below(KEYS)}`, reason: chance.pick(["Begun", "Ended"]) };
  return chance.next() < 0.5 ? event : { ...event, time: String(chance.below(5) * 1_000_000_000) };
}
