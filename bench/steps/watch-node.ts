import { connect, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { EventIds } from "../harness/event-ids.ts";
import type { Figures } from "../harness/figures.ts";

/** The watchers of a node under load. */
export interface NodeWatchers {
  readonly port: number;
  readonly count: number;
  /** Whether each watches its own namespace (`n0`, `n1`, …) instead of everything. */
  readonly own: boolean;
  /** The number of transactions, which write to the namespaces in turn. A final transaction writes to all of them. */
  readonly transactions: number;
}

/**
 * Opens the watches, starts the load, and compares the transactions that each watcher received with the ones that were
 * written.
 */
export async function watchNode({ port, count, own, transactions }: NodeWatchers): Promise<Figures> {
  const url = `http://127.0.0.1:${port}`;
  await waitUntilReady(url);
  const watchers = await Promise.all(
    Array.from({ length: count }, (_, n) => Watcher.open(port, own ? `&namespace=n${n}` : "")),
  );
  const before = await signal(url, "begin");
  const last = before + transactions + 1;
  await Promise.all(watchers.map((watcher) => watcher.reached(last)));
  const after = await signal(url, "end");
  let [lost, doubled, received] = [0, 0, 0];
  for (const [n, { ids }] of watchers.entries()) {
    const expected = own ? Math.floor((transactions - 1 - n) / count) + 2 : transactions + 1;
    received += ids.count;
    doubled += ids.repeated;
    lost += Math.max(0, expected + ids.repeated - ids.count);
  }
  for (const watcher of watchers) watcher.close();
  if (after !== last + 1) throw new Error(`the load ended with transaction ${after - 1} instead of ${last}`);
  return { "events told": received, "events lost": lost, "events doubled": doubled };
}

/** A client that watches the bucket `load`, or what `query` selects of it. */
export class Watcher {
  readonly ids = new EventIds();
  readonly #socket: Socket;
  #last = Infinity;
  #reached: () => void = () => {};

  private constructor(socket: Socket) {
    this.#socket = socket;
  }

  /** Opens a watch and waits for its first heartbeat. */
  static async open(port: number, query: string): Promise<Watcher> {
    const socket = connect(port, "127.0.0.1");
    const watcher = new Watcher(socket);
    await new Promise<void>((resolve, reject) => {
      socket.once("error", reject);
      socket.once("data", () => resolve());
      socket.write(`GET /api/v1/watch?bucket=load${query} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
    });
    socket.on("data", (part) => watcher.#take(part));
    return watcher;
  }

  async reached(txId: number): Promise<void> {
    this.#last = txId;
    if (this.ids.newest >= txId) return;
    await new Promise<void>((resolve, reject) => {
      this.#reached = resolve;
      this.#socket.once("close", () => reject(new Error("a watch ended")));
    });
  }

  close(): void {
    this.#socket.removeAllListeners("close");
    this.#socket.destroy();
  }

  #take(part: Buffer): void {
    this.ids.take(part);
    if (this.ids.newest >= this.#last) this.#reached();
  }
}

async function waitUntilReady(url: string): Promise<void> {
  for (;;) {
    const answer = await fetch(`${url}/health/ready`).catch(() => undefined);
    await answer?.arrayBuffer();
    if (answer?.ok === true) return;
    await delay(50);
  }
}

async function signal(url: string, name: string): Promise<number> {
  const answer = await fetch(`${url}/api/v1/signals/${name}`, { method: "PUT", body: "1" });
  return ((await answer.json()) as { txId: number }).txId;
}
