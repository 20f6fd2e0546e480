import type { AnyOperation } from "@cairn/client";
import type { CairnNode, Watch, WatchEvent, WatchQuery } from "@cairn/engine";

/** A watch that is read step by step. It is closed with `await using`. */
export class WatchReader {
  readonly #events: AsyncIterator<WatchEvent>;
  readonly #stop = new AbortController();

  constructor(open: (query: WatchQuery) => Watch, query: WatchQuery = {}) {
    this.#events = open({ ...query, signal: this.#stop.signal })[Symbol.asyncIterator]();
  }

  static of(node: Pick<CairnNode, "watch">, query: WatchQuery = {}): WatchReader {
    return new WatchReader((asked) => node.watch(asked), query);
  }

  /** Returns the next event; undefined at the end. */
  async next(): Promise<WatchEvent | undefined> {
    const { done, value } = await this.#events.next();
    return done === true ? undefined : value;
  }

  /** Returns the next transactions, skipping heartbeats, each as its id and its changes. */
  async transactions(count: number): Promise<string[]> {
    const told: string[] = [];
    while (told.length < count) {
      const event = await this.next();
      if (event === undefined) throw new Error(`the watch ended after ${told.join("; ")}`);
      if (event.type === "cutoff") throw new Error(`cut off: ${event.reason}: ${event.message}`);
      if (event.type === "tx") told.push(describeEvent(event));
    }
    return told;
  }

  /** Returns the next event that is neither a transaction nor a heartbeat. */
  async cutoff(): Promise<WatchEvent | undefined> {
    for (;;) {
      const event = await this.next();
      if (event === undefined || event.type === "cutoff") return event;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#events.return?.();
  }
}

/** Returns the transactions up to the id `last`, and the way the watch ended if it ended before that. */
export async function readTo(
  reader: WatchReader,
  last: number,
): Promise<{ ids: number[]; cutoff?: WatchEvent }> {
  const ids: number[] = [];
  for (;;) {
    const event = await reader.next();
    if (event === undefined || event.type === "cutoff")
      return event === undefined ? { ids } : { ids, cutoff: event };
    if (event.type === "tx") ids.push(event.txId);
    if (ids.at(-1) === last) return { ids };
  }
}

/** Returns the whole numbers from `from` to `to`, both included. */
export function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, index) => from + index);
}

/** Returns `7: put pods default/a {"n":1}, delete pods default/b`, for example. */
export function describeEvent({ txId, changes }: Extract<WatchEvent, { type: "tx" }>): string {
  const told = changes.map(({ op, bucket, namespace, name, revision, json }) => {
    if (revision !== txId) throw new Error(`${name} is delivered with revision ${revision} by ${txId}`);
    return [op, bucket, `${namespace}/${name}`, json].filter((part) => part !== undefined).join(" ");
  });
  return `${txId}: ${told.join(", ")}`;
}

/** Submits a transaction and waits until the node has it. */
export async function submit(node: CairnNode, ...ops: readonly AnyOperation[]): Promise<number> {
  const { txId } = await node.submit({ ops });
  await node.await(txId);
  return txId;
}
