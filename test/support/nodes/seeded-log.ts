import type { Json, TxOperation } from "@cairn/client";
import { type LogMessage } from "@cairn/engine";
import { encodeBirthRecord } from "@cairn/engine/src/transactions/transaction-codec";
import { encodeTransaction } from "@cairn/engine/src/transactions/transaction-codec";

const KEYS = 150;
const BORN = 1_700_000_000_000;

/** The log id of every seeded log. */
export const SEEDED_LOG_ID = "5eeded00-0000-4000-8000-000000000000";

/** Returns a generator of numbers below 1 that depend on `seed` alone (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Replaces the random part of a message. */
function sameEachTime(position: number): string {
  return position.toString(16).padStart(16, "0");
}

/** Returns the message at a position of a seed's log. It is the same in every process, although nothing is stored. */
export function seededMessage(seed: number, position: number): LogMessage {
  const random = seededRandom(seed * 1_000_003 + position);
  const time = BORN + position * 10 - Math.floor(random() * 30);
  if (position === 1) {
    return {
      position,
      time,
      payload: encodeBirthRecord({ log: SEEDED_LOG_ID, offset: 0 }, sameEachTime(position)),
    };
  }
  const keys = new Set(Array.from({ length: 1 + Math.floor(random() * 4) }, () => keyOf(random)));
  const ops = [...keys].map((key) => operation(random, key));
  // Some ids are used twice, in near or distant messages.
  const id = random() < 0.2 ? { id: `id-${Math.floor(random() * position)}` } : {};
  return {
    position,
    time,
    payload: encodeTransaction({ ops, ...id }, SEEDED_LOG_ID, sameEachTime(position)),
  };
}

const FIELDS: readonly (readonly string[])[] = [["number"], ["text", "number"], ["text"]];

/** Returns a message of the same log, but with indexed fields that change repeatedly, each time before all are built. */
export function seededMessageWithFields(seed: number, position: number): LogMessage {
  const message = seededMessage(seed, position);
  if (position % 60 !== 7) return message;
  const things = FIELDS[Math.floor(position / 60 + seed) % FIELDS.length] ?? [];
  return {
    ...message,
    payload: encodeTransaction(
      { ops: [["configure", { indexes: { things } }]] },
      SEEDED_LOG_ID,
      sameEachTime(position),
    ),
  };
}

function keyOf(random: () => number): string {
  return `n${Math.floor(random() * 3)}/k${Math.floor(random() * KEYS)}`;
}

function operation(random: () => number, key: string): TxOperation {
  const kind = random();
  if (kind < 0.75) return ["put", "things", key, document(random)];
  if (kind < 0.95) return ["delete", "things", key];
  return ["evict", "things", key];
}

function document(random: () => number): Json {
  return { text: "x".repeat(Math.floor(random() * 400)), number: Math.floor(random() * 1e6) };
}
