import type { Worker } from "node:worker_threads";

/** What comes from elsewhere, another thread most often, kept until somebody takes it: first come, first taken. `T` has no undefined. */
export class Inbox<T> {
  // Never is something held while somebody waits: what comes goes to the first who does.
  readonly #held: T[];
  readonly #takers: { give(one: T): void; refuse(error: unknown): void }[] = [];
  #failure: { readonly error: unknown } | undefined;

  /** With these in it. */
  constructor(held: Iterable<T> = []) {
    this.#held = [...held];
  }

  /** Adds one. */
  put(one: T): void {
    const taker = this.#takers.shift();
    if (taker === undefined) this.#held.push(one);
    else taker.give(one);
  }

  /** Nothing more will come: once all is taken, `take` throws this. Only the first reason counts. */
  fail(error: unknown): void {
    this.#failure ??= { error };
    for (const taker of this.#takers.splice(0)) taker.refuse(error);
  }

  /** Takes the next one, waiting for it if need be. */
  async take(): Promise<T> {
    const one = this.#held.shift();
    if (one !== undefined) return one;
    if (this.#failure !== undefined) throw this.#failure.error;
    return await new Promise((give, refuse) => this.#takers.push({ give, refuse }));
  }
}

/** All that `worker` sends; it fails with what ended the thread, or with `endedEarly` where it ended without a word. */
export function inboxOf<T>(worker: Worker, endedEarly: () => Error): Inbox<T> {
  const inbox = new Inbox<T>();
  worker.on("message", (message: T) => inbox.put(message));
  worker.on("error", (error) => inbox.fail(error));
  worker.on("exit", () => inbox.fail(endedEarly()));
  return inbox;
}
