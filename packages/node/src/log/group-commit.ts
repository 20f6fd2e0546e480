/** The result of an append: the position of the message, and whether a message with its id had already been stored. */
export interface Appended {
  readonly position: number;
  readonly duplicate: boolean;
}

export interface PendingAppend {
  readonly payload: Uint8Array;
  readonly messageId: string | undefined;
}

interface Waiting extends PendingAppend {
  readonly resolve: (appended: Appended) => void;
  readonly reject: (error: unknown) => void;
}

/** The bounds of a group, which is one batch of the database and is held in memory. */
const MAX_MESSAGES = 1_000;
const MAX_BYTES = 4 * 1024 * 1024;

/**
 * Commits messages in groups. Messages that arrive while one group is being written form the next one, so that
 * concurrent writers share the cost of a flush. The order of the calls is kept. If a group cannot be stored, all of its
 * appends are rejected.
 */
export class GroupCommit {
  readonly #store: (group: readonly PendingAppend[]) => Promise<readonly Appended[]>;
  #waiting: Waiting[] = [];
  #running: Promise<void> | undefined;

  constructor(store: (group: readonly PendingAppend[]) => Promise<readonly Appended[]>) {
    this.#store = store;
  }

  append(payload: Uint8Array, messageId: string | undefined): Promise<Appended> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ payload, messageId, resolve, reject });
      this.#running ??= this.#run();
    });
  }

  /** Resolves when no messages are waiting. */
  async idle(): Promise<void> {
    await this.#running;
  }

  async #run(): Promise<void> {
    // Calls in the same turn of the event loop belong to one group.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const group = this.#takeGroup();
      try {
        const appended = await this.#store(group);
        for (const [index, result] of appended.entries()) group[index]?.resolve(result);
      } catch (error) {
        for (const waiting of group) waiting.reject(error);
      }
    }
    this.#running = undefined;
  }

  #takeGroup(): Waiting[] {
    let bytes = 0;
    let count = 0;
    for (const { payload } of this.#waiting) {
      bytes += payload.length;
      if (count > 0 && (bytes > MAX_BYTES || count >= MAX_MESSAGES)) break;
      count += 1;
    }
    return this.#waiting.splice(0, count);
  }
}
