import { readdirSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync, type DatabaseSyncInstance } from "@photostructure/sqlite";
import { ownFolder } from "../data/own-nodes.ts";
import { percentiles } from "./latencies.ts";

const POLL_MS = 2;

/** The times from when transactions were indexed until SQL sees them in the file of a node's own index. */
export class OwnLag {
  readonly #database: DatabaseSyncInstance;
  readonly #read: { get(): unknown };
  readonly #timer: NodeJS.Timeout;
  /** In the order of transactions. */
  #waiting: { readonly txId: number; readonly indexedAt: number }[] = [];
  #lags: number[] = [];

  /** `dir` is the folder of the node. */
  constructor(dir: string) {
    const files = readdirSync(ownFolder(dir), { recursive: true }).map(String);
    const file = files.find((name) => name.endsWith(".sqlite"));
    if (file === undefined) throw new Error("the node has no own index");
    this.#database = new DatabaseSync(join(ownFolder(dir), file), { readOnly: true });
    this.#read = this.#database.prepare("select position from cairn_position");
    this.#timer = setInterval(() => this.#look(), POLL_MS);
  }

  indexed(txId: number): void {
    this.#waiting.push({ txId, indexedAt: performance.now() });
  }

  /** Returns percentiles of the lags since the last call (ms). */
  take(): (share: number) => number {
    const now = performance.now();
    // What is still invisible has waited for this long at least.
    const lags = [...this.#lags, ...this.#waiting.map(({ indexedAt }) => now - indexedAt)];
    this.#lags = [];
    return percentiles(lags);
  }

  close(): void {
    clearInterval(this.#timer);
    this.#database.close();
  }

  #look(): void {
    const { position } = this.#read.get() as { position: string };
    const visible = Number(position.split("-")[0]);
    const now = performance.now();
    this.#waiting = this.#waiting.filter(({ txId, indexedAt }) => {
      if (txId > visible) return true;
      this.#lags.push(now - indexedAt);
      return false;
    });
  }
}
