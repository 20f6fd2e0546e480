import { seededRandom, type VirtualTime } from "@cairn/checkpoint/testing";
import { anchorOf } from "../../../src/log/anchor.ts";
import type { LogBounds, LogMessage, TxLog } from "../../../src/log/tx-log.ts";

/** A message that was appended to the log, even if the log has lost it since. */
export interface Appended extends LogMessage {
  readonly nanoseconds: number;
  /** The SHA-256 of its anchor. */
  readonly sha256: string;
  /** The message that the log held before it. */
  readonly before: Appended | undefined;
}

/** A log in memory that responds immediately, and remembers everything that was ever appended to it. */
export interface SimulatedLog {
  readonly log: TxLog;
  bounds(): LogBounds;
  append(): void;
  trim(upTo: number): void;
  /** Loses the last messages, but never the first one. */
  lose(count: number): void;
  /** Returns the message at a position; undefined if it was trimmed, or not appended yet. */
  at(position: number): Appended | undefined;
  /** Returns whether a message is, or was before it was trimmed, a part of the log as it is now. */
  isCurrent(message: Appended): boolean;
  /** Returns the message that was at any time appended at a position, and whose anchor begins with these digits. */
  find(position: number, anchorStart: string): Appended | undefined;
}

/** The number of different contents of large messages. */
const LARGE_CONTENTS = 4_096;

/** Returns a log with messages of about `bytes` bytes. */
export function simulatedLog(time: VirtualTime, bytes: number): SimulatedLog {
  const all: Appended[] = [];
  const ever = new Map<string, Appended>();
  const content = contentOf(bytes);
  let first = 1;
  const held = (position: number): Appended | undefined => (position < first ? undefined : all[position - 1]);
  const log: TxLog = {
    name: "simulated",
    maxPayload: bytes,
    id: async () => "simulated",
    exists: async () => true,
    create: async () => undefined,
    append: () => Promise.reject(new Error("not used")),
    bounds: async () => ({ first, last: all.length }),
    fetch: async (position) => held(position),
    async *read(from, { signal, maxMessages = 500 }) {
      for (let next = from; !signal.aborted;) {
        const messages = all.slice(Math.max(next, first) - 1, next - 1 + maxMessages);
        if (messages.length === 0) {
          await new Promise((resolve) => {
            signal.addEventListener("abort", resolve, { once: true });
          });
          return;
        }
        yield messages;
        next = (messages.at(-1)?.position ?? next) + 1;
      }
    },
    close: async () => undefined,
  };
  return {
    log,
    bounds: () => ({ first, last: all.length }),
    append() {
      const count = ever.size;
      const message = {
        position: all.length + 1,
        time: Math.floor(time.now()),
        // The value differs for messages that replace one another within a millisecond.
        nanoseconds: (count * 7_919) % 1_000_000,
        payload: content(count),
      };
      const { sha256 } = anchorOf(message);
      const appended: Appended = { ...message, sha256, before: all.at(-1) };
      all.push(appended);
      ever.set(keyOf(appended.position, sha256), appended);
    },
    trim(upTo) {
      first = Math.max(first, Math.min(upTo, all.length));
    },
    lose(count) {
      all.length = Math.max(first, all.length - count);
    },
    at: held,
    isCurrent: (message) => all[message.position - 1] === message,
    find: (position, anchorStart) => ever.get(keyOf(position, anchorStart)),
  };
}

/**
 * Returns a function that returns different contents. Large ones are views of one buffer, so they take no further
 * memory.
 */
function contentOf(bytes: number): (count: number) => Uint8Array {
  if (bytes < 1_000) return (count) => Buffer.from(`${count} ${"x".repeat(bytes)}`);
  const { next } = seededRandom(bytes);
  const shared = Buffer.from(Array.from({ length: bytes + LARGE_CONTENTS }, () => Math.floor(next() * 256)));
  return (count) => shared.subarray(count % LARGE_CONTENTS, (count % LARGE_CONTENTS) + bytes);
}

function keyOf(position: number, sha256: string): string {
  return `${position}-${sha256.slice(0, 8)}`;
}
