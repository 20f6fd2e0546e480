/** What an append answers: where the message is stored, and whether its id had been stored before. */
export interface Appended {
  readonly position: number;
  readonly duplicate: boolean;
}

/** A message that waits to be stored. */
export interface PendingAppend {
  readonly payload: Uint8Array;
  readonly messageId: string | undefined;
}

interface Waiting extends PendingAppend {
  readonly resolve: (appended: Appended) => void;
  readonly reject: (error: unknown) => void;
}

/** Bounds of a group, which is one batch of the database and in memory as a whole. */
const MAX_MESSAGES = 1_000;
const MAX_BYTES = 4 * 1024 * 1024;

/**
 * Stores messages in groups: those that come while one group is being written make up the next, so that many writers
 * share the cost of one flush. The order of the calls is kept. When storing a group fails, all of it is rejected.
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

  /** Returns when nothing waits. */
  async idle(): Promise<void> {
    await this.#running;
  }

  async #run(): Promise<void> {
    // Calls made one after another in the same turn belong to one group already.
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
