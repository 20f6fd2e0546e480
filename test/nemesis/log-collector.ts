import { setTimeout as delay } from "node:timers/promises";
import type { LogMessage } from "@cairn/node";
import { NatsOperator } from "@cairn/log-nats/testing";

const POLL_MS = 250;

/**
 * Reads the stream while it grows, because nodes trim it. At the end, {@link finish} detects messages that the server
 * lost or changed.
 */
export class LogCollector {
  readonly messages: LogMessage[] = [];
  readonly #url: string;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;

  constructor(url: string) {
    this.#url = url;
    this.#running = this.#run();
  }

  /** Returns the whole log once all writers have stopped. Throws if the stream no longer agrees with what was read before. */
  async finish(): Promise<readonly LogMessage[]> {
    this.#stop.abort();
    await this.#running;
    await this.#collect();
    await NatsOperator.at(this.#url, async (operator) => {
      for await (const { position, payload } of operator.messages()) {
        const before = this.messages[position - 1]?.payload;
        if (before === undefined || Buffer.compare(before, payload) !== 0)
          throw new Error(`message ${position} has changed`);
      }
      const { last_seq: last } = (await operator.info()).state;
      if (last !== this.messages.length)
        throw new Error(`the log ended at ${this.messages.length}, now at ${last}`);
    });
    return this.messages;
  }

  async #run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      // The server may be down. Messages that cannot be read now are read later.
      await this.#collect().catch(() => undefined);
      await delay(POLL_MS, undefined, { signal: this.#stop.signal }).catch(() => undefined);
    }
  }

  async #collect(): Promise<void> {
    await NatsOperator.at(this.#url, async (operator) => {
      for await (const message of operator.messages(this.messages.length + 1)) {
        if (message.position !== this.messages.length + 1) return;
        this.messages.push(message);
      }
    });
  }
}
