import type { LogMessage, TxLog } from "../src/log/tx-log.ts";

/** Reads `count` messages from the position `from` on. */
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

/** Encodes a string as a payload. */
export function bytes(content: string): Uint8Array {
  return new TextEncoder().encode(content);
}

/** Decodes a payload as a string. */
export function text(message: LogMessage | undefined): string | undefined {
  return message === undefined ? undefined : new TextDecoder().decode(message.payload);
}
