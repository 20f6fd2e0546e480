import { setTimeout as delay } from "node:timers/promises";
import type { ClientChange } from "@cairn/client";
import type { Picks } from "@cairn/test-support/seeded-random";
import type { LifeCluster } from "./life-cluster.ts";
import type { Model } from "./model.ts";
import { RefusedWatch, watch } from "./reading.ts";
import { anyRunning } from "./writing.ts";

const RETRY_MS = 200;

/** A watch that begins with the life, resumes at any node, and records what it received. */
export class Follower {
  readonly bucket: string;
  readonly changes = new Map<number, readonly ClientChange[]>();
  readonly #cluster: LifeCluster;
  readonly #model: Model;
  readonly #picks: Picks;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;
  #position = "0";
  #losses = 0;
  #last = 0;

  constructor(cluster: LifeCluster, model: Model, picks: Picks, bucket: string) {
    this.bucket = bucket;
    this.#cluster = cluster;
    this.#model = model;
    this.#picks = picks;
    this.#running = this.#run();
  }

  async finish(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      const url = await anyRunning(this.#cluster, this.#picks)
        ?.process?.url()
        .catch(() => undefined);
      if (url !== undefined) await this.#follow(url).catch((error: unknown) => this.#ended(error));
      await delay(RETRY_MS);
    }
  }

  async #follow(url: string): Promise<void> {
    for await (const { event, data } of watch(url, this.bucket, this.#position, this.#stop.signal)) {
      if (data.reason === "regressed") throw new RefusedWatch(JSON.stringify(data));
      if (data.ahead === true) continue;
      if (event === "tx") {
        if (data.txId <= this.#last)
          this.#cluster.violated(`the watcher received ${data.txId} after ${this.#last}`);
        this.changes.set(data.txId, data.changes ?? []);
        this.#last = data.txId;
      }
      this.#position = data.position;
    }
  }

  #ended(error: unknown): void {
    if (!(error instanceof RefusedWatch)) return;
    this.#cluster.note(`the watcher begins again: ${error.message}`);
    if (this.#losses === this.#model.losses)
      this.#cluster.violated(`the watcher could not resume at ${this.#position}: ${error.message}`);
    this.#losses = this.#model.losses;
    this.changes.clear();
    this.#position = "0";
    this.#last = 0;
  }
}
