import { lstat, readdir } from "node:fs/promises";
import { write } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import { promisify } from "node:util";
import { CairnError, liveTableNames } from "@cairn/kv";
import { WORTH_A_THREAD } from "@cairn/kv/threads";
import { archiveHere, type Writing } from "./archive-pieces.ts";
import type { ArchiveOrder, PackedArchive } from "./archive-pieces.ts";
import { FileName } from "../../store/checkpoint.ts";
import type { DirectContent } from "../../store/checkpoint-store.ts";
import { archiveBeside, writeBeside } from "./pack-beside.ts";
import { gentleRate } from "../pace.ts";
import { notPlain } from "./tar-pieces.ts";
import { archiveSize, NAME_LIMIT } from "../tar-format.ts";

/** How to pack. */
export interface PackOptions {
  readonly compression?: "none" | "gzip";
  /**
   * Whether the directory is a LevelDB: then every table is compared with its checksums on the way (`INDEX_CORRUPT`), and what
   * looks like a table and is none of the database's stays out.
   */
  readonly tables?: boolean;
  /** Called now and then with the bytes of the archive, uncompressed, packed so far. */
  readonly onProgress?: (bytes: number) => void;
  /** Whether threads of their own do the work; left out, they do for files that are worth it. */
  readonly threads?: boolean;
  /** About how long those may take to write to a file while this thread is busy; left out, as long as is best for this thread. */
  readonly withinMs?: number;
  /** Aborted, this thread being busy does not matter to them any more. */
  readonly hurry?: AbortSignal | undefined;
}

/** An archive on its way: nothing is read before somebody asks for it, and no second copy is made on disk. */
export interface Packing {
  readonly archive: Readable;
  /** The same, without passing through this thread; for a store that can take it. Either is read, not both. */
  readonly direct?: DirectContent;
  /** About how long the archive will be, rather too long than too short. */
  expectedBytes?(): Promise<number>;
  /** Throws before the archive was read to its end. */
  result(): PackedArchive;
}

const TABLE = /\.(ldb|sst)$/;
const writeFile = promisify(write);

/**
 * Packs the plain files of `dir` into one tar archive, in name order, with the digests that its manifest needs. Reading, hashing
 * and, where the store can take it so, writing are done by threads of a low priority: the node goes on writing and answering.
 */
export function packDirectory(dir: string, options: PackOptions = {}): Packing {
  const { compression = "none", tables = false, onProgress = () => undefined } = options;
  let packed: PackedArchive | undefined;

  const look = async (): Promise<FilesToPack> => {
    const live = tables ? await liveTableNames(dir) : undefined;
    return { ...(await plainFiles(dir, live)), live };
  };
  let looked: Promise<FilesToPack> | undefined;
  const files = (): Promise<FilesToPack> => (looked ??= look());

  async function begin(): Promise<{ order: ArchiveOrder; bytes: number; threads: boolean }> {
    const { names, bytes, live = new Set() } = await files();
    return {
      bytes,
      order: { dir, names, compression, tables: live },
      threads: options.threads ?? bytes >= WORTH_A_THREAD,
    };
  }

  async function* content(): AsyncGenerator<Buffer, void, undefined> {
    const { order, threads } = await begin();
    if (threads) packed = yield* archiveBeside(order, onProgress);
    else {
      const pieces = archiveHere(order, onProgress);
      try {
        let next = await pieces.next();
        // The reader may keep what it got, and the memory is used again.
        for (; next.done !== true; next = await pieces.next()) yield Buffer.from(next.value);
        packed = next.value;
      } finally {
        await letGo(pieces);
      }
    }
  }

  return {
    archive: Readable.from(content(), { objectMode: false, highWaterMark: 1024 * 1024 }),
    direct: {
      async writeTo(file, { explain, signal }) {
        const { order, bytes, threads } = await begin();
        const writing = { explain, signal, hurry: options.hurry, onProgress };
        packed = threads
          ? await writeBeside(order, file, writing, gentleRate(bytes, options.withinMs))
          : await writeHere(order, file, writing);
        return packed.bytes;
      },
    },
    async expectedBytes() {
      const { archiveBytes } = await files();
      // What cannot be compressed becomes a little longer.
      return compression === "none" ? archiveBytes : Math.ceil(archiveBytes * 1.001) + 65_536;
    },
    result() {
      if (packed === undefined) {
        throw new CairnError("CHECKPOINT_INCOMPLETE", "The archive was not read to its end.", {
          hint: "The upload stopped early; the next checkpoint begins anew.",
        });
      }
      return packed;
    },
  };
}

async function writeHere(
  order: ArchiveOrder,
  file: number,
  { explain, signal, onProgress }: Writing,
): Promise<PackedArchive> {
  const pieces = archiveHere(order, onProgress);
  try {
    for (;;) {
      signal?.throwIfAborted();
      const { done, value } = await pieces.next();
      if (done === true) return value;
      try {
        for (let at = 0; at < value.length;) at += (await writeFile(file, value, at)).bytesWritten;
      } catch (error) {
        throw explain(error);
      }
    }
  } finally {
    await letGo(pieces);
  }
}

/** A file that was not read to its end stays open until its reader is told that nobody wants the rest. */
async function letGo(pieces: ReturnType<typeof archiveHere>): Promise<void> {
  // What it answers is of no use: it is undefined where the archive was left early.
  await pieces.return({ bytes: 0, sha256: "", files: [] });
}

interface FilesToPack {
  readonly names: string[];
  /** Of their contents. */
  readonly bytes: number;
  /** Of a plain archive of them. */
  readonly archiveBytes: number;
  /** Which tables are the database's, where that matters. */
  readonly live?: ReadonlySet<string> | undefined;
}

async function plainFiles(dir: string, live: ReadonlySet<string> | undefined): Promise<FilesToPack> {
  const names = (await readdir(dir))
    .filter((name) => live === undefined || live.has(name) || !TABLE.test(name))
    .toSorted();
  const sizes: { bytes: number }[] = [];
  for (const name of names) {
    if (!FileName.safeParse(name).success || name.length > NAME_LIMIT) throw notPlain(name);
    sizes.push({ bytes: (await lstat(join(dir, name))).size });
  }
  const bytes = sizes.reduce((sum, file) => sum + file.bytes, 0);
  return { names, bytes, archiveBytes: archiveSize(sizes) };
}
