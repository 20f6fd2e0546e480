import { readFileSync } from "node:fs";

/**
 * Files reserved for everything but connections: write-ahead logs, manifests and locks of index and log, tables that are
 * being written, a capture, an upload and a restore, threads, connections to NATS and to stores. LevelDB's tables are extra.
 */
const FILES_KEPT_BACK = 128;
/** LevelDB holds up to this share of the limit in tables that it has not mapped into memory. */
const SHARE_FOR_TABLES = 1 / 5;
/** Even under a very low limit a server keeps this share of it for connections. */
const LEAST_SHARE = 1 / 4;

/** The most connections that a process with this limit of open files may hold; undefined: no limit. */
export function connectionLimit(openFiles: number | undefined): number | undefined {
  if (openFiles === undefined) return undefined;
  const left = openFiles - Math.ceil(openFiles * SHARE_FOR_TABLES) - FILES_KEPT_BACK;
  return Math.max(left, Math.floor(openFiles * LEAST_SHARE), 1);
}

/** This process's limit of open files; undefined if there is none, or the system does not report it. */
export function openFilesLimit(): number | undefined {
  try {
    // The current value: Node raises the soft limit when it starts.
    const soft = /^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1];
    return soft === undefined ? undefined : Number(soft);
  } catch {
    // Only Linux has that file.
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
