import { readFileSync } from "node:fs";

/**
 * Files that a server keeps for everything but its connections: write-ahead logs, manifests and locks of index and log, tables that are
 * being written, a capture, an upload and a restore, threads, connections to NATS and to stores. LevelDB's tables are extra.
 */
const FILES_KEPT_BACK = 128;
/** LevelDB holds up to this share of the limit in tables that it has not mapped into memory. */
const SHARE_FOR_TABLES = 1 / 5;
/** Under a limit so low that hardly anything is left, a server still answers some. */
const LEAST_SHARE = 1 / 4;

/** How many connections a process may hold that may have so many files open; undefined where there is no limit. */
export function connectionLimit(openFiles: number | undefined): number | undefined {
  if (openFiles === undefined) return undefined;
  const left = openFiles - Math.ceil(openFiles * SHARE_FOR_TABLES) - FILES_KEPT_BACK;
  return Math.max(left, Math.floor(openFiles * LEAST_SHARE), 1);
}

/** How many files this process may have open; undefined where the system sets no limit, or does not say. */
export function openFilesLimit(): number | undefined {
  try {
    // As it is now: Node raises it as far as it may when it starts.
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
