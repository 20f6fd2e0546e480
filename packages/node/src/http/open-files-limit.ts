import { readFileSync } from "node:fs";

/**
 * The number of open files that are reserved for everything except connections: for the write-ahead logs, manifests and
 * locks of the index and the log, tables that are being written, a capture, an upload, a restore, threads, and
 * connections to NATS and to stores. LevelDB's open tables are counted separately.
 */
const RESERVED_FILES = 128;
/** The largest share of the limit that LevelDB uses for open tables that are not mapped into memory. */
const TABLES_SHARE = 1 / 5;
/** The share of the limit that is available to connections even if the limit is very low. */
const MIN_CONNECTIONS_SHARE = 1 / 4;

/**
 * Returns the maximum number of connections for a process with this limit on open files; undefined if there is no
 * limit. Unlimited connections could use up the files that the index needs, and a write would fail. connections.ts
 * enforces the maximum.
 */
export function connectionLimit(openFiles: number | undefined): number | undefined {
  if (openFiles === undefined) return undefined;
  const left = openFiles - Math.ceil(openFiles * TABLES_SHARE) - RESERVED_FILES;
  return Math.max(left, Math.floor(openFiles * MIN_CONNECTIONS_SHARE), 1);
}

/** Returns this process's limit on open files; undefined if there is none, or if the system does not report it. */
export function openFilesLimit(): number | undefined {
  try {
    // The file contains the current value, because Node raises the soft limit when it starts.
    const soft = /^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1];
    return soft === undefined ? undefined : Number(soft);
  } catch {
    // This file exists only on Linux.
    return reportedLimit();
  }
}

function reportedLimit(): number | undefined {
  const report = process.report.getReport() as {
    readonly userLimits?: { readonly open_files?: { readonly soft?: unknown } };
  };
  const soft = report.userLimits?.open_files?.soft;
  return typeof soft === "number" ? soft : undefined;
}
