import type { LogMessage } from "../../src/log/tx-log.ts";
import { encodeBirthRecord, encodeTransaction } from "../../src/transactions/transaction-codec.ts";
import { seededRandom } from "@cairn/test-support/nodes/seeded-log";

/** The id of the logs in both histories. */
export const PARTED_LOG_ID = "log-1";
const BEGIN = 1_763_000_000_000;
const MOST = 4_500;

/** Two histories of one log, and how the second differs from the first. */
export interface PartedHistories {
  readonly way: string;
  readonly left: readonly LogMessage[];
  readonly right: readonly LogMessage[];
  /** The first position at which the messages differ; undefined if there is none. */
  readonly partAt: number | undefined;
}

interface Stored {
  readonly payload: Uint8Array;
  readonly at: number;
}

/** The ways in which a history may be changed, starting at `at`. */
const WAYS: Readonly<Record<string, (history: Stored[], at: number, random: () => number) => Stored[]>> = {
  "the same": (history) => history,
  "one message was replaced by another": (history, at, random) =>
    history.toSpliced(at, 1, written(at, random)),
  "one payload was stored at a different time": (history, at) => {
    const [found] = history.slice(at, at + 1);
    return found === undefined ? history : history.toSpliced(at, 1, { ...found, at: found.at + 1 });
  },
  "one message is missing": (history, at) => history.toSpliced(at, 1),
  "one message is duplicated": (history, at) => history.toSpliced(at, 0, ...history.slice(at, at + 1)),
  "two messages were swapped": (history, at) =>
    history.toSpliced(at, 2, ...history.slice(at, at + 2).toReversed()),
  "the end was lost and written again": (history, at, random) => [
    ...history.slice(0, at),
    ...history.slice(at).map((_one, index) => written(at + index, random)),
  ],
  "the end was lost and sent again unchanged": (history, at) => [
    ...history.slice(0, at),
    ...history.slice(at).map(({ payload, at: time }) => ({ payload, at: time + 1_000 })),
  ],
  "a part was lost, and the log ends with the same bytes": (history, at, random) => {
    const count = 1 + Math.floor(random() * 20);
    const others = history.slice(at, at + count).map((_one, index) => written(at + index, random));
    return history.toSpliced(at, others.length, ...others);
  },
  "the bytes of a message are damaged": (history, at) => {
    const [found] = history.slice(at, at + 1);
    if (found === undefined) return history;
    const payload = Buffer.from(found.payload);
    payload[payload.length - 2] = (payload[payload.length - 2] ?? 0) ^ 1;
    return history.toSpliced(at, 1, { ...found, payload });
  },
};

/**
 * Returns two histories for a seed. Most of their messages repeat the operations of a few payloads, and some have the
 * same bytes.
 */
export function partedHistories(seed: number): PartedHistories {
  const random = seededRandom(seed);
  const length = 2 + Math.floor(random() ** 2 * MOST);
  const repeated = written(0, random).payload;
  const history: Stored[] = [{ payload: encodeBirthRecord({ log: PARTED_LOG_ID, offset: 0 }), at: 0 }];
  for (let at = 1; at < length; at += 1) {
    history.push(random() < 0.1 ? { payload: repeated, at: at * 3_000 } : written(at, random));
  }
  const ways = Object.keys(WAYS);
  const way = ways[seed % ways.length] ?? "the same";
  // The point of divergence is as often near the end as anywhere else.
  const at = 1 + Math.floor((random() < 0.5 ? random() : 1 - random() ** 4) * (length - 1));
  const [left, right] = [numbered(history), numbered(WAYS[way]?.(history, at, random) ?? history)];
  const shorter = Math.min(left.length, right.length);
  const parted = left.findIndex((one, index) => index < shorter && !isSame(one, right[index]));
  return { way, left, right, partAt: parted < 0 ? undefined : parted + 1 };
}

function written(at: number, random: () => number): Stored {
  const key = `default/k${Math.floor(random() * 5)}`;
  const payload = encodeTransaction(
    { ops: [["put", "things", key, Math.floor(random() * 3)]] },
    PARTED_LOG_ID,
  );
  return { payload, at: at * 3_000 + 7 };
}

/** Numbers messages like a log's server: each receives a position, and a time in nanoseconds. */
function numbered(history: readonly Stored[]): LogMessage[] {
  return history.map(({ payload, at }, index) => ({
    position: index + 1,
    time: BEGIN + Math.floor(at / 1_000),
    nanoseconds: (at % 1_000) * 1_000,
    payload,
  }));
}

export function isSame(one: LogMessage, other: LogMessage | undefined): boolean {
  return (
    other !== undefined &&
    one.time === other.time &&
    one.nanoseconds === other.nanoseconds &&
    Buffer.compare(one.payload, other.payload) === 0
  );
}
