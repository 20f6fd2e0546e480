import { readdir } from "node:fs/promises";
import { Readable } from "node:stream";
import type { Worker } from "node:worker_threads";
import { CairnError } from "@cairn/kv";
import { FileName } from "./checkpoint.ts";
import type { Manifest } from "./checkpoint.ts";
import type { DirectContent } from "./checkpoint-store.ts";
import type { PackMessage, PackOrder } from "./pack-worker.ts";
import { notPlain } from "./tar-pieces.ts";
import { NAME_LIMIT } from "./tar-format.ts";
import { receiveError, startWorker } from "./worker-thread.ts";

/** What an archive holds; known when it was read to its end. */
export interface PackedArchive {
  readonly bytes: number;
  readonly sha256: string;
  readonly files: Manifest["files"];
}

/** How to pack. */
export interface PackOptions {
  readonly compression?: "none" | "gzip";
  /** Whether the directory is a LevelDB: then every table is compared with its checksums on the way (`INDEX_CORRUPT`). */
  readonly tables?: boolean;
  /** Called now and then with the bytes of the archive, uncompressed, packed so far. */
  readonly onProgress?: (bytes: number) => void;
}

/** An archive on its way: nothing is read before somebody asks for it, and no second copy is made on disk. */
export interface Packing {
  readonly archive: Readable;
  /** The same, without passing through this thread; for a store that can take it. Either is read, not both. */
  readonly direct?: DirectContent;
  /** Throws before the archive was read to its end. */
  result(): PackedArchive;
}

/** On their way to this thread, of at most 4 MiB each. */
const PIECES = 2;
const HELD = 4 * 1024 * 1024;

/**
 * Packs the plain files of `dir` into one tar archive, in name order, with the digests that its manifest needs. Reading, hashing
 * and, where the store can take it so, writing are done by threads of a low priority: the node goes on writing and answering.
 */
export function packDirectory(dir: string, options: PackOptions = {}): Packing {
  const { compression = "none", tables = false, onProgress } = options;
  let packed: PackedArchive | undefined;

  async function start(file?: number): Promise<Worker> {
    const order: PackOrder = {
      dir,
      names: await plainNames(dir),
      compression,
      tables,
      pieces: PIECES,
      ...(file === undefined ? {} : { file }),
    };
    return startWorker("pack-worker", order);
  }

  return {
    archive: archiveStream(start, onProgress, (result) => (packed = result)),
    direct: {
      async writeTo(file, { explain, signal }) {
        signal?.throwIfAborted();
        const worker = await start(file);
        try {
          packed = await resultOf(worker, { explain, signal, onProgress });
        } finally {
          // Nothing may write to the file any more once its owner hears of the end.
          await worker.terminate();
        }
        return packed.bytes;
      },
    },
    result() {
      if (packed === undefined) throw notReadToItsEnd();
      return packed;
    },
  };
}

interface Watching {
  readonly explain: (error: unknown) => unknown;
  readonly signal: AbortSignal | undefined;
  readonly onProgress: PackOptions["onProgress"];
}

function resultOf(worker: Worker, { explain, signal, onProgress }: Watching): Promise<PackedArchive> {
  return new Promise((resolve, reject) => {
    const stop = (): void => reject(signal?.reason);
    if (signal?.aborted === true) stop();
    signal?.addEventListener("abort", stop, { once: true });
    worker.on("error", reject);
    worker.on("exit", () => {
      signal?.removeEventListener("abort", stop);
      reject(notReadToItsEnd());
    });
    worker.on("message", (message: PackMessage) => {
      if ("packed" in message) resolve(message.packed);
      else if ("failed" in message) {
        const error = receiveError(message.failed);
        reject(message.writing ? explain(error) : error);
      } else onProgress?.(message.done);
    });
  });
}

function archiveStream(
  start: () => Promise<Worker>,
  onProgress: PackOptions["onProgress"],
  onPacked: (packed: PackedArchive) => void,
): Readable {
  let worker: Promise<Worker> | undefined;
  let unasked = 0;

  async function begin(): Promise<Worker> {
    const started = await start();
    started.on("error", (error) => archive.destroy(error));
    started.on("exit", () => {
      if (!archive.readableEnded && !archive.destroyed) archive.destroy(notReadToItsEnd());
    });
    started.on("message", (message: PackMessage) => {
      if ("packed" in message) {
        onPacked(message.packed);
        archive.push(null);
      } else if ("failed" in message) archive.destroy(receiveError(message.failed));
      else {
        onProgress?.(message.done);
        unasked += 1;
        if (message.piece !== undefined && archive.push(Buffer.from(message.piece))) ask(started);
      }
    });
    return started;
  }

  function ask(started: Worker): void {
    if (unasked > 0) started.postMessage(unasked, []);
    unasked = 0;
  }

  const archive: Readable = new Readable({
    highWaterMark: HELD,
    async read() {
      try {
        worker ??= begin();
        ask(await worker);
      } catch (error) {
        archive.destroy(error instanceof Error ? error : new Error(String(error)));
      }
    },
    async destroy(error, done) {
      try {
        await (await worker)?.terminate();
        done(error);
      } catch {
        // It did not even start, which is what destroyed the stream.
        done(error);
      }
    },
  });
  return archive;
}

async function plainNames(dir: string): Promise<string[]> {
  const names = (await readdir(dir)).toSorted();
  const strange = names.find((name) => !FileName.safeParse(name).success || name.length > NAME_LIMIT);
  if (strange !== undefined) throw notPlain(strange);
  return names;
}

function notReadToItsEnd(): CairnError {
  return new CairnError("CHECKPOINT_INCOMPLETE", "The archive was not read to its end.", {
    hint: "The upload stopped early; the next checkpoint begins anew.",
  });
}
