import { resolvable } from "@cairn/kv";
import type { LogMessage, TxLog } from "../../src/log/tx-log.ts";
import { wrapped } from "@cairn/text";

/** The instants of a write at which something else happens to its log. */
export const INSTANTS = [
  "before it is sent",
  "before it is sent, with deliveries on their way",
  "while it is sent",
  "when it is stored, but neither acknowledged nor delivered",
  "when it is delivered, but not acknowledged",
  "when it is acknowledged, but not delivered",
  "when it is acknowledged, and may be delivered",
] as const;

export type Instant = (typeof INSTANTS)[number];

/** The instants before or at which deliveries are held back. */
const HOLDING: ReadonlySet<Instant> = new Set<Instant>([
  "before it is sent, with deliveries on their way",
  "when it is stored, but neither acknowledged nor delivered",
  "when it is acknowledged, but not delivered",
]);

interface Armed {
  readonly instant: Instant;
  readonly change: () => Promise<void>;
}

/** A log on NATS that lets something happen at an instant of the next append. */
export class GatedLog {
  readonly log: TxLog;
  /** The number of single messages that were requested. */
  fetches = 0;
  /** The message of the append at which something happened. */
  payload: Uint8Array | undefined;
  #armed: Armed | undefined;
  #held: ReturnType<typeof resolvable> | undefined;
  /** The last position that has arrived, and the last one that the reader has applied. */
  #arrived = 0;
  #applied = 0;
  #readings = 0;
  #onProgress: () => void = () => undefined;
  #changed: Promise<void> = Promise.resolve();

  constructor(log: TxLog) {
    this.log = wrapped<TxLog>(log, {
      fetch: async (position: number) => {
        this.fetches += 1;
        return await log.fetch(position);
      },
      append: async (payload: Uint8Array, options: Parameters<TxLog["append"]>[1]) => {
        const append = async (): ReturnType<TxLog["append"]> => await log.append(payload, options);
        const armed = this.#armed;
        if (armed === undefined) return await append();
        this.#armed = undefined;
        this.payload = payload;
        if (HOLDING.has(armed.instant)) this.#held = resolvable();
        try {
          return await this.#append(armed, append);
        } finally {
          void this.changed().finally(() => this.#held?.resolve());
        }
      },
      read: (...given: Parameters<TxLog["read"]>) => this.#read(log.read(...given)),
    });
  }

  arm(instant: Instant, change: () => Promise<void>): void {
    this.#armed = { instant, change };
  }

  /** Returns once the change has been made, if it has begun. */
  async changed(): Promise<void> {
    await this.#changed;
  }

  /** Runs `act`, which interrupts the reading. Returns once another reading has arrived at the same message. */
  async interrupt(act: () => Promise<void>): Promise<void> {
    const [arrived, readings] = [this.#arrived, this.#readings];
    await act();
    await this.#until(() => this.#readings > readings && this.#applied >= arrived);
  }

  /** Returns once a message at this position, or a later one, has arrived. It may be held back. */
  async arrived(position: number): Promise<void> {
    await this.#until(() => this.#arrived >= position);
  }

  async #append(
    { instant, change }: Armed,
    append: () => ReturnType<TxLog["append"]>,
  ): ReturnType<TxLog["append"]> {
    const happen = async (): Promise<void> => {
      this.#changed = change();
      await this.#changed;
    };
    if (instant.startsWith("before it is sent")) await happen();
    const appending = append();
    if (instant === "while it is sent") await happen();
    const appended = await appending;
    if (instant === "when it is delivered, but not acknowledged")
      await this.#until(() => this.#applied >= appended.position);
    if (instant.startsWith("when it is acknowledged")) void happen();
    else if (instant.startsWith("when")) await happen();
    return appended;
  }

  async #until(isReached: () => boolean): Promise<void> {
    while (!isReached())
      await new Promise<void>((resolve) => {
        this.#onProgress = resolve;
      });
  }

  async *#read(messages: AsyncIterable<readonly LogMessage[]>): AsyncGenerator<readonly LogMessage[]> {
    this.#readings += 1;
    this.#applied = 0;
    for await (const some of messages) {
      this.#arrived = some.at(-1)?.position ?? 0;
      this.#onProgress();
      await this.#held?.promise;
      yield some;
      // The reader requests more once it has applied these.
      this.#applied = this.#arrived;
      this.#onProgress();
    }
  }
}
