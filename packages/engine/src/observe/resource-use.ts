import type { StatsFs } from "node:fs";
import { statfs } from "node:fs/promises";
import { memoryUsage } from "node:process";
import type { NodeResources } from "@cairn/client";
import { SharedResults, TIMED_OUT, withTimeout } from "@cairn/kv";
import { RequestRates } from "./request-rates.ts";

/** A request with its response. `route` is the template, not the URL, because the number of keys and buckets is unlimited. */
export interface AnsweredRequest {
  readonly method: string;
  readonly route: string;
  /** Whether it reads or writes documents; undefined if it does neither. */
  readonly kind: "read" | "write" | undefined;
  readonly status: number;
  readonly seconds: number;
}

/** How long to wait for a disk, which may be on a server that does not respond (ms). */
const DISK_MS = 250;

/** What a node's process uses, and how many requests it serves. */
export class ResourceUse {
  readonly #dbDir: string;
  readonly #startedAt = performance.now();
  readonly #reads = new RequestRates();
  readonly #writes = new RequestRates();
  readonly #asking = new SharedResults<StatsFs>();

  constructor(dbDir: string) {
    this.#dbDir = dbDir;
  }

  note(kind: "read" | "write", { seconds }: Pick<AnsweredRequest, "seconds">): void {
    const rates = kind === "read" ? this.#reads : this.#writes;
    rates.note(seconds * 1_000);
  }

  async current(): Promise<NodeResources> {
    const disk = await this.#disk();
    const { user, system } = process.cpuUsage();
    return {
      uptimeMs: Math.round(performance.now() - this.#startedAt),
      memoryBytes: memoryUsage.rss(),
      processorMs: Math.round((user + system) / 1_000),
      diskFreeBytes: disk === undefined ? null : disk.bavail * disk.bsize,
      diskTotalBytes: disk === undefined ? null : disk.blocks * disk.bsize,
      reads: this.#reads.current(),
      writes: this.#writes.current(),
    };
  }

  async #disk(): Promise<StatsFs | undefined> {
    try {
      // A disk that does not respond occupies one thread, however often the status is requested.
      const asked = this.#asking.get(this.#dbDir, () => statfs(this.#dbDir));
      const disk = await withTimeout(asked, DISK_MS);
      return disk === TIMED_OUT ? undefined : disk;
    } catch {
      // The folder is missing, or the system does not report its file system. The status is returned without it.
      return undefined;
    }
  }
}
