import type { LogMessage, LogReadOptions } from "../tx-log.ts";

/** Half of the remembered messages are forgotten at a time, because removing them one by one is slow. */
const MAX_MESSAGES = 4_096;
const MAX_BYTES = 4 * 1024 * 1024;

/**
 * The newest messages of a log, without holes. Readers at the end of the log take them from here. Reading them back
 * from the database would take three requests to other threads, which is slower than storing them.
 */
export class RecentMessages {
  #messages: LogMessage[] = [];
  #bytes = 0;

  /** The database has stored `messages`. If they do not follow the newest message, all earlier ones are forgotten. */
  add(messages: readonly LogMessage[]): void {
    const [next] = messages;
    const newest = this.#messages.at(-1);
    if (newest !== undefined && next !== undefined && next.position !== newest.position + 1) this.clear();
    for (const message of messages) {
      this.#messages.push(message);
      this.#bytes += message.payload.length;
    }
    while (this.#messages.length > MAX_MESSAGES || this.#bytes > MAX_BYTES) {
      const forgotten = this.#messages.splice(0, Math.ceil(this.#messages.length / 2));
      for (const { payload } of forgotten) this.#bytes -= payload.length;
    }
  }

  clear(): void {
    this.#messages = [];
    this.#bytes = 0;
  }

  /** Returns the message at `position` and those after it that fit the bounds; undefined if it is not remembered. */
  from(
    position: number,
    { maxMessages = MAX_MESSAGES, maxBytes = MAX_BYTES }: Pick<LogReadOptions, "maxMessages" | "maxBytes">,
  ): readonly LogMessage[] | undefined {
    const [oldest] = this.#messages;
    if (oldest === undefined || position < oldest.position) return undefined;
    const begin = position - oldest.position;
    let end = begin;
    let bytes = 0;
    for (; end < this.#messages.length && end - begin < maxMessages; end += 1) {
      bytes += this.#messages[end]?.payload.length ?? 0;
      if (end > begin && bytes > maxBytes) break;
    }
    return end > begin ? this.#messages.slice(begin, end) : undefined;
  }
}
