import type { IncomingMessage } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import type { ClientChange } from "@cairn/client";
import type { Picks } from "@cairn/test-support/seeded-random";
import { openWatch, readText, type SentEvent, watchEvents } from "@cairn/test-support/torture-watcher";
import type { Listed } from "./clients.ts";
import {
  valueOf,
  type Watch,
  type WatchConnection,
  type WatchedChange,
  type WatchedEvent,
} from "./history.ts";

const RETRY_MS = 20;
/** The greatest number of events that a watcher receives before it disconnects. */
const MAX_EVENTS = 60;
const FINISHED_WITHIN_MS = 60_000;

/** What a watcher watches, beginning with the documents of a list, or with nothing at the beginning of the log. */
export interface WatcherOptions {
  readonly bucket: string;
  readonly namespace: string;
  readonly begin: Listed;
  readonly urls: readonly [string, ...string[]];
  readonly picks: Picks;
}

/** The beginning of the log. */
export const BEGINNING: Listed = { txId: 0, position: "0", documents: [] };

/** A watcher that disconnects and changes nodes at random, and records each connection. */
export class HistoryWatcher {
  readonly #options: WatcherOptions;
  readonly #connections: (WatchConnection & { readonly events: WatchedEvent[] })[] = [];
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;
  #txId: number;
  #position: string;
  #isCalm = false;

  constructor(options: WatcherOptions) {
    this.#options = options;
    ({ txId: this.#txId, position: this.#position } = options.begin);
    this.#running = this.#run();
    this.#running.catch(() => {});
  }

  /** Returns what was received once that includes transaction `txId`. */
  async finish(txId: number): Promise<Watch> {
    this.#isCalm = true;
    const deadline = Date.now() + FINISHED_WITHIN_MS;
    while (this.#txId < txId) {
      if (Date.now() > deadline) throw new Error(`a watcher is at ${this.#txId} instead of ${txId}`);
      await Promise.race([delay(RETRY_MS), this.#running]);
    }
    this.#stop.abort();
    await this.#running;
    const { namespace, begin } = this.#options;
    return { namespace, base: begin.documents, connections: this.#connections };
  }

  async #run(): Promise<void> {
    const { bucket, namespace, urls, picks } = this.#options;
    const filter = namespace === "" ? { bucket } : { bucket, namespace };
    while (!this.#stop.signal.aborted) {
      const query = new URLSearchParams({ ...filter, heartbeat: "PT0.1S", from: this.#position });
      const response = await openWatch(picks.of(urls), query, this.#stop.signal);
      if (response?.statusCode === 200) await this.#read(response);
      else if (response !== undefined && response.statusCode !== 503)
        throw new Error(`a watch was refused: ${response.statusCode} ${await readText(response)}`);
      else await delay(RETRY_MS);
    }
  }

  async #read(response: IncomingMessage): Promise<void> {
    const events: WatchedEvent[] = [];
    this.#connections.push({ fromTxId: this.#txId, events });
    const maxEvents = 1 + this.#options.picks.below(MAX_EVENTS);
    for await (const event of watchEvents(response)) {
      if (event.data.ahead === true) continue;
      events.push(received(event));
      ({ txId: this.#txId, position: this.#position } = event.data);
      if (event.event === "cutoff" || this.#stop.signal.aborted) break;
      if (!this.#isCalm && events.length >= maxEvents) break;
    }
    response.destroy();
  }
}

/** Returns an event as the judge expects it. Like a heartbeat, a cutoff states that everything before it was sent. */
function received({ event, data: { txId, reason, changes = [] } }: SentEvent): WatchedEvent {
  if (reason === "regressed" || reason === "compacted") throw new Error(`a watch ended: ${reason}`);
  return { txId, isProgress: event !== "tx", changes: changes.map(changed) };
}

function changed({ op, namespace, name, revision, document }: ClientChange): WatchedChange {
  return { op, key: `${namespace}/${name}`, revision, value: op === "put" ? valueOf(document) : "" };
}
