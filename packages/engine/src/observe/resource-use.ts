import type { StatsFs } from "node:fs";
import { statfs } from "node:fs/promises";
import { memoryUsage } from "node:process";
import type { NodeResources } from "@cairn/client";
import { SharedResults, withTimeout } from "@cairn/kv";

/** A request with its response. `route` is the template, not the URL, because the number of keys and buckets is unlimited. */
export interface AnsweredRequest {
  readonly method: string;
  readonly route: string;
  readonly status: number;
  readonly seconds: number;
}

/** How long to wait for a disk, which may be on a server that does not respond (ms). */
const DISK_MS = 250;

export function resourceUse(dbDir: string) {
  const startedAt = performance.now();
  const asking = new SharedResults<StatsFs>();
  return {
    async current(): Promise<NodeResources> {
      // A disk that does not respond occupies one thread, however often the status is requested.
      const asked = asking.get(dbDir, () => statfs(dbDir));
      // The folder may be missing, or the system may not report its file system. The status then lacks it.
      const disk = await withTimeout(asked, DISK_MS, null).catch(() => null);
      const { user, system } = process.cpuUsage();
      return {
        uptimeMs: Math.round(performance.now() - startedAt),
        memoryBytes: memoryUsage.rss(),
        processorMs: Math.round((user + system) / 1_000),
        diskFreeBytes: disk && disk.bavail * disk.bsize,
        diskTotalBytes: disk && disk.blocks * disk.bsize,
      };
    },
  };
}
