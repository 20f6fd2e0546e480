import { lstat, readdir } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { CairnError, liveTableNames, unlessAborted } from "@cairn/kv";
import { receiveError, startThreadPair, ThreadModule, MIN_BYTES_FOR_THREAD } from "@cairn/kv/threads";
import { encryptedSize } from "../../encryption/age-payload.ts";
import { FileName } from "../../store/checkpoint.ts";
import type { DirectContent } from "../../store/checkpoint-store.ts";
import { archiveSize, NAME_LIMIT } from "../tar-format.ts";
import { archiveHere, type ArchiveOrder, notPlain, type PackedArchive } from "./archive-pieces.ts";
import type { PackMessage, PackOrder, PackRequest, ReadOrder } from "./pack-worker.ts";
import { backgroundRate, throttleWhileBusy } from "./throttle.ts";

export interface PackOptions {
  /** Defaults to `none`. */
  readonly compression?: "none" | "gzip";
  /** The recipients to which the archive is encrypted. By default, it is not encrypted. */
  readonly recipients?: readonly Uint8Array[] | undefined;
  /**
   * Whether the directory contains a LevelDB database. If so, every table is compared with its checksums as it is
   * packed (`INDEX_CORRUPT`), and tables that do not belong to the database are omitted. Defaults to false.
   */
  readonly tables?: boolean;
  /** Called occasionally with the number of uncompressed bytes packed so far. */
  readonly onProgress?: (bytes: number) => void;
  /** Whether to use worker threads. By default, they are used if the files are large enough. */
  readonly threads?: boolean;
  /** The approximate time (ms) that writing to a file may take while this thread is busy. Defaults to no limit. */
  readonly withinMs?: number;
  /** Once this is aborted, the work runs at full speed even while this thread is busy. */
  readonly hurry?: AbortSignal | undefined;
}

/** An archive that is packed while it is consumed: no file is read until then, and no temporary file is written. */
export interface Packing {
  readonly archive: Readable;
  /** The same content, written by threads, if they are used. Only one of the two may be consumed. */
  readonly direct?: DirectContent;
  /** The approximate length of the archive in bytes. The true length is rarely larger. */
  readonly expectedBytes: number;
  /** Returns the result. Throws until the archive has been read to its end. */
  result(): PackedArchive;
}

const PACKING = new ThreadModule(import.meta.url, "pack-worker");
const TABLE = /\.ldb$/;
/** The maximum number of pieces, of at most 4 MiB each, in flight from the worker to this thread. */
const PIECES_IN_FLIGHT = 3;

/**
 * Packs the regular files of `dir` into a tar archive, ordered by name, and computes the digests for its manifest.
 * Worker threads of low priority do the work, so that the node keeps serving. Fails with `CHECKPOINT_CORRUPT` at an
 * entry that is not a plain file, and with `CHECKPOINT_INCOMPLETE` at a file that is removed or truncated meanwhile.
 */
export async function packDirectory(dir: string, options: PackOptions = {}): Promise<Packing> {
  const { compression = "none", recipients, tables = false, onProgress = () => undefined } = options;
  const live = tables ? await liveTableNames(dir) : undefined;
  const { names, bytes, archiveBytes } = await plainFiles(dir, live);
  const order: ArchiveOrder = { dir, names, compression, recipients, tables: live ?? new Set() };
  const threads = options.threads ?? bytes >= MIN_BYTES_FOR_THREAD;
  let packed: PackedArchive | undefined;

  async function* content(): AsyncGenerator<Buffer, void, undefined> {
    // There is no throttle: this thread is busy sending these same pieces, so a throttle would halve their speed.
    packed = yield* threads
      ? archiveOnThreads({ ...order, pieces: PIECES_IN_FLIGHT }, onProgress)
      : archiveHere(order, onProgress);
  }

  const direct: DirectContent = {
    async writeTo(file, writing) {
      const throttling = throttleWhileBusy(backgroundRate(bytes, options.withinMs), options.hurry);
      const writeOrder = { ...order, file, pieces: 0, throttle: throttling.shared };
      try {
        const { value } = await archiveOnThreads(writeOrder, onProgress, writing).next();
        // A file receives all pieces, so the first result is the last.
        packed = value as PackedArchive;
        return packed.bytes;
      } finally {
        throttling.stop();
      }
    },
  };
  // Incompressible content grows slightly when it is compressed.
  const plainBytes = compression === "none" ? archiveBytes : Math.ceil(archiveBytes * 1.001) + 65_536;
  return {
    archive: Readable.from(content(), { objectMode: false, highWaterMark: 1024 * 1024 }),
    ...(threads ? { direct } : {}),
    expectedBytes: recipients === undefined ? plainBytes : encryptedSize(plainBytes, recipients.length),
    result() {
      if (packed === undefined) {
        throw new CairnError(
          "CHECKPOINT_INCOMPLETE",
          "The archive was not read to its end.",
          "Wait for the next checkpoint, which starts afresh. The upload of this one stopped early.",
        );
      }
      return packed;
    },
  };
}

/**
 * Packs on worker threads: one reads and one packs, so that checksums and digests are computed at once. Yields pieces
 * that the receiver owns, unless the order names a file. After the end, only a call that hung when the signal was
 * aborted may still write to the file.
 */
async function* archiveOnThreads(
  order: Omit<PackOrder, "role">,
  onProgress: (bytes: number) => void,
  { explain, signal }: Partial<Parameters<DirectContent["writeTo"]>[1]> = {},
): AsyncGenerator<Buffer, PackedArchive, undefined> {
  signal?.throwIfAborted();
  const { dir, names, tables, throttle } = order;
  const packing: PackOrder = { ...order, role: "pack" };
  const reading: ReadOrder = { dir, names, tables, throttle, role: "read" };
  const { worker, sent, terminate } = startThreadPair<PackMessage>(PACKING, packing, reading);
  try {
    for (;;) {
      const message = await unlessAborted(sent.take(), signal);
      if ("packed" in message) return message.packed;
      if ("failed" in message) {
        const error = receiveError(message.failed);
        throw message.writing && explain !== undefined ? explain(error) : error;
      }
      onProgress(message.done);
      if (message.piece === undefined) continue;
      yield Buffer.from(message.piece);
      worker.postMessage("one more" satisfies PackRequest, []);
    }
  } finally {
    await terminate(signal);
  }
}

/** Returns the size of a file that an archive is to contain under a name. Throws `CHECKPOINT_CORRUPT` if it cannot. */
export async function archivableBytes(path: string, name: string): Promise<number> {
  const found = await lstat(path);
  if (!found.isFile() || !FileName.safeParse(name).success || name.length > NAME_LIMIT) throw notPlain(name);
  return found.size;
}

async function plainFiles(
  dir: string,
  live: ReadonlySet<string> | undefined,
): Promise<{ readonly names: string[]; readonly bytes: number; readonly archiveBytes: number }> {
  const names = (await readdir(dir))
    .filter((name) => live === undefined || live.has(name) || !TABLE.test(name))
    .toSorted();
  const sizes: { bytes: number }[] = [];
  for (const name of names) {
    sizes.push({ bytes: await archivableBytes(join(dir, name), name) });
  }
  const bytes = sizes.reduce((sum, file) => sum + file.bytes, 0);
  return { names, bytes, archiveBytes: archiveSize(sizes) };
}
