import { open, readdir, stat } from "node:fs/promises";
import path from "node:path";
import type { Chance } from "../odd-values.ts";

/** The position of a changed byte. */
export interface Flip {
  /** The path relative to the node's folder. */
  readonly file: string;
  readonly kind: FileKind;
  readonly offset: number;
  readonly size: number;
}

/** `index table`, `log manifest`, `store archive` and so on. */
export type FileKind = `${"index" | "log" | "store"} ${string}`;

/** Files whose content no reader uses: LevelDB's own log of events, and locks. */
const IGNORED = /(^|\/)(LOCK|LOG|LOG\.old)$|\/lock\//;
/** The size of LevelDB's footer in bytes. */
const EDGE = 48;

/** Changes one bit or one byte of a file in `folders` (relative to `root`). Each kind of file is equally likely. */
export async function flipSomewhere(
  root: string,
  folders: readonly string[],
  chance: Chance,
): Promise<Flip | undefined> {
  const byKind = new Map<FileKind, string[]>();
  for (const folder of folders) {
    for (const file of await filesIn(root, folder)) {
      const kind = kindOf(file);
      byKind.set(kind, [...(byKind.get(kind) ?? []), file]);
    }
  }
  const kinds = [...byKind.keys()].toSorted();
  if (kinds.length === 0) return undefined;
  // Tables can be damaged in the most ways.
  const tables = kinds.filter((kind) => kind.endsWith(" table"));
  const [firstKind, ...otherKinds] = tables.length > 0 && chance.next() < 0.4 ? tables : kinds;
  const kind = chance.pick([firstKind as FileKind, ...otherKinds]);
  const [first = "", ...rest] = byKind.get(kind) ?? [];
  const file = chance.pick([first, ...rest]);
  const handle = await open(path.join(root, file), "r+").catch(goneMeanwhile);
  if (handle === undefined) return undefined;
  try {
    const { size } = await handle.stat();
    if (size === 0) return undefined;
    const offset = placeIn(size, chance);
    const byte = Buffer.alloc(1);
    await handle.read(byte, 0, 1, offset);
    const change = chance.next() < 0.5 ? 1 << chance.below(8) : 1 + chance.below(255);
    byte[0] = (byte[0] ?? 0) ^ change;
    await handle.write(byte, 0, 1, offset);
    return { file, kind, offset, size };
  } finally {
    await handle.close();
  }
}

/** Returns a random offset: anywhere, near the end (where indexes, filters and footers are), or near the beginning. */
function placeIn(size: number, chance: Chance): number {
  const where = chance.next();
  if (where < 0.55) return chance.below(size);
  if (where < 0.75) return size - 1 - chance.below(Math.min(size, Math.ceil(size / 20) + EDGE));
  if (where < 0.85) return size - 1 - chance.below(Math.min(size, EDGE));
  return chance.below(Math.min(size, 64));
}

async function filesIn(root: string, folder: string): Promise<string[]> {
  const names = await readdir(path.join(root, folder), { recursive: true }).catch(goneMeanwhile);
  const files: string[] = [];
  for (const name of (names ?? []).toSorted()) {
    const file = path.join(folder, name);
    if (IGNORED.test(file)) continue;
    const found = await stat(path.join(root, file)).catch(goneMeanwhile);
    if (found?.isFile() === true && found.size > 0) files.push(file);
  }
  return files;
}

function kindOf(file: string): FileKind {
  const [folder = ""] = file.split(path.sep);
  const area = folder === "checkpoints" ? "store" : folder.endsWith("-log") ? "log" : "index";
  const name = path.basename(file);
  if (area === "store") {
    if (file.includes("reservations")) return `${area} reservation`;
    if (name.startsWith("in-progress-")) return `${area} lease`;
    if (name.endsWith(".verified.json")) return `${area} verification`;
    return name.endsWith(".json") ? `${area} manifest` : `${area} archive`;
  }
  if (/\.(ldb|sst)$/.test(name)) return `${area} table`;
  if (name.endsWith(".log")) return `${area} write-ahead log`;
  return name.startsWith("MANIFEST") ? `${area} manifest` : `${area} ${name}`;
}

/** Ignores the error for a file that a compaction or a sweep has removed in the meantime. */
function goneMeanwhile(error: unknown): undefined {
  if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
  throw error;
}
