import type { VirtualTime } from "@cairn/checkpoint/testing";
import type { LogMessage, TxLog } from "../../../src/log/tx-log.ts";

/** A log in memory that responds immediately, and keeps trimmed messages for comparison. */
export interface SimulatedLog {
  readonly log: TxLog;
  /** Everything that was ever appended. */
  readonly all: readonly LogMessage[];
  append(): void;
  trim(upTo: number): void;
}

/** Returns a log with messages of `bytes` bytes, which differ in their first bytes. */
export function simulatedLog(time: VirtualTime, bytes: number): SimulatedLog {
  const all: LogMessage[] = [];
  const rest = Buffer.alloc(bytes, "x");
  let first = 1;
  const held = (position: number): LogMessage | undefined =>
    position < first ? undefined : all[position - 1];
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
    all,
    append() {
      const payload = bytes < 1_000 ? Buffer.from(`${all.length} ${"x".repeat(bytes)}`) : rest;
      all.push({ position: all.length + 1, time: Math.floor(time.now()), nanoseconds: 0, payload });
    },
    trim(upTo) {
      first = Math.max(first, Math.min(upTo, all.length));
    },
  };
}
