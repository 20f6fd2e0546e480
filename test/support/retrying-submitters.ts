import { isCairnError, type CairnNode } from "@cairn/node";

/** Clients that submit without pause, each transaction with an id, and again with the same id until it is acknowledged. */
export class RetryingSubmitters {
  /** The transaction that each id was acknowledged as. */
  readonly acknowledged = new Map<string, number>();
  retries = 0;
  readonly #nodes: readonly CairnNode[];
  readonly #stop = new AbortController();
  readonly #running: Promise<unknown>;

  constructor(nodes: readonly CairnNode[], count: number) {
    this.#nodes = nodes;
    this.#running = Promise.all(Array.from({ length: count }, (_, n) => this.#run(n)));
    // Whoever waits for the end gets it.
    this.#running.catch(() => {});
  }

  /** Lets each finish what it is about, and ends. */
  async finish(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(client: number): Promise<void> {
    for (let n = 0; !this.#stop.signal.aborted; n += 1) {
      const id = `client-${client}-${n}`;
      // Every transaction leaves a version: one that is applied twice, or not at all, shows in the digest.
      const key = `default/client-${client}`;
      this.acknowledged.set(id, await this.#submit(id, key, n));
    }
  }

  async #submit(id: string, key: string, n: number): Promise<number> {
    for (let attempt = n; ; attempt += 1) {
      const node = this.#nodes[attempt % this.#nodes.length];
      if (node === undefined) throw new Error("There is no node to submit to.");
      try {
        const { txId } = await node.submit({ id, ops: [["put", "things", key, n]] });
        return txId;
      } catch (error) {
        if (!isCairnError(error, "LOG_UNREACHABLE") && !isCairnError(error, "NOT_READY")) throw error;
        this.retries += 1;
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
  }
}
