import { isCairnError, type CairnNode } from "@cairn/node";
import { vi } from "vitest";

/** Clients that submit transactions without a pause, and retry each with the same id until it is acknowledged. */
export class RetryingSubmitters {
  /** The acknowledged transaction id of each submission, by the id that the client gave to it. */
  readonly acknowledged = new Map<string, number>();
  readonly #nodes: readonly CairnNode[];
  readonly #stop = new AbortController();
  readonly #running: Promise<unknown>;

  constructor(nodes: readonly CairnNode[], count: number) {
    this.#nodes = nodes;
    this.#running = Promise.all(Array.from({ length: count }, (_, n) => this.#run(n)));
    // `finish` reports the error.
    this.#running.catch(() => {});
  }

  /** Waits until more than `count` additional submissions are acknowledged. */
  async waitForMore(count: number): Promise<void> {
    const enough = this.acknowledged.size + count;
    await vi.waitFor(
      () => {
        const { size } = this.acknowledged;
        if (size <= enough) throw new Error(`${size} submissions are acknowledged, not more than ${enough}`);
      },
      { timeout: 60_000, interval: 10 },
    );
  }

  /** Stops the clients once the pending submissions are acknowledged. */
  async finish(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(client: number): Promise<void> {
    for (let n = 0; !this.#stop.signal.aborted; n += 1) {
      const id = `client-${client}-${n}`;
      // Every transaction adds a version, so that the digest shows whether a transaction was applied twice or never.
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
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
  }
}
