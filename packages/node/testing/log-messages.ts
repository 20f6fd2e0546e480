import type { LogMessage, TxLog } from "../src/log/tx-log.ts";

/** The first `count` messages from `from` on, and how many arrays they came in. */
export async function takeMessages(log: TxLog, from: number, count: number): Promise<LogMessage[]> {
  const stop = new AbortController();
  const messages: LogMessage[] = [];
  for await (const array of log.read(from, { signal: stop.signal })) {
    messages.push(...array);
    if (messages.length >= count) break;
  }
  stop.abort();
  return messages.slice(0, count);
}

/** Text as a payload. */
export function bytes(content: string): Uint8Array {
  return new TextEncoder().encode(content);
}

/** A payload as text. */
export function text(message: LogMessage | undefined): string | undefined {
  return message === undefined ? undefined : new TextDecoder().decode(message.payload);
}
