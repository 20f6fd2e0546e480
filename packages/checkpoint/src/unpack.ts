import { diskError, makeFolder } from "@cairn/kv";
import { incomplete } from "./archive-errors.ts";
import { chunkSource } from "./archive-source.ts";
import { ARCHIVE_FORMATS } from "./checkpoint.ts";
import type { Manifest } from "./checkpoint.ts";
import type { StoredContent } from "./checkpoint-store.ts";
import { manifestWriter, sinkHere } from "./file-sink.ts";
import { receiveArchive } from "./receive-archive.ts";
import { syncFolder } from "./stores/write-file.ts";
import type { UnpackMessage, UnpackOrder, UnpackRequest } from "./unpack-worker.ts";
import { receiveError, startWorker, WORTH_A_THREAD } from "@cairn/kv/threads";

/** How to unpack. */
export interface UnpackOptions {
  /** Called now and then with the bytes of the archive read so far. */
  readonly onProgress?: (bytes: number) => void;
  readonly signal?: AbortSignal;
  /** Whether everything else in the process goes first; false when left out. */
  readonly background?: boolean;
  /** Whether threads of their own do the work; left out, they do for archives that are worth it. */
  readonly threads?: boolean;
}

/** Chunks on their way to the other thread. */
const CHUNKS = 32;

/**
 * Writes the files of an archive into `dir` (made by it), checking everything against the manifest while it streams by.
 * `CHECKPOINT_CORRUPT` for anything that the manifest does not say, `CHECKPOINT_INCOMPLETE` for what is missing, `DISK_FULL`;
 * then `dir` holds leftovers that the caller removes. Never writes more than the manifest says. Afterwards all is flushed.
 */
export async function unpackArchive(
  archive: StoredContent,
  dir: string,
  manifest: Manifest,
  options: UnpackOptions = {},
): Promise<void> {
  const { threads = manifest.archive.bytes >= WORTH_A_THREAD, background = false, signal } = options;
  const compressed = manifest.format.archive === ARCHIVE_FORMATS.gzip;
  const { file } = archive;
  try {
    await makeFolder(dir);
    const order = { dir, manifest, compressed, background, ...(file === undefined ? {} : { file }) };
    await (threads ? unpackBeside(archive, order, options) : unpackHere(archive, order, options));
    await syncFolder(dir);
  } catch (error) {
    signal?.throwIfAborted();
    throw diskError(error, dir);
  } finally {
    archive.destroy();
  }
}

async function unpackHere(
  archive: StoredContent,
  { dir, manifest, compressed }: UnpackOrder,
  { onProgress, signal }: UnpackOptions,
): Promise<void> {
  await receiveArchive({
    manifest,
    compressed,
    source: chunkSource(archive),
    sink: sinkHere(manifestWriter(dir, manifest)),
    onProgress(done) {
      signal?.throwIfAborted();
      onProgress?.(done);
      signal?.throwIfAborted();
    },
  });
}

async function unpackBeside(
  archive: StoredContent,
  order: UnpackOrder,
  { onProgress, signal }: UnpackOptions,
): Promise<void> {
  signal?.throwIfAborted();
  const worker = startWorker(import.meta.url, "unpack-worker", order);
  const room = { chunks: CHUNKS };
  let wake: (() => void) | undefined;
  let stop: (() => void) | undefined;
  const send = (request: UnpackRequest): void => worker.postMessage(request, []);
  const unpacked = new Promise<void>((resolve, reject) => {
    stop = () => reject(signal?.reason);
    signal?.addEventListener("abort", stop, { once: true });
    worker.on("error", reject);
    worker.on("exit", () => reject(incomplete(order.manifest, "the thread that unpacked it ended early")));
    const tell = (done: number): void => {
      try {
        onProgress?.(done);
      } catch (error) {
        // Thrown to the thread's messages, it would end the process.
        reject(error);
      }
    };
    worker.on("message", (message: UnpackMessage) => {
      if ("done" in message) tell(message.done);
      else if ("failed" in message) reject(receiveError(message.failed));
      else if ("unpacked" in message) resolve();
      else {
        room.chunks += message.took;
        wake?.();
      }
    });
  });

  /** Never ends when it is done: what counts is what the other thread says. */
  async function feed(): Promise<never> {
    for await (const chunk of archive) {
      while (room.chunks === 0) await new Promise<void>((resolve) => (wake = resolve));
      room.chunks -= 1;
      send({ chunk });
    }
    send("end");
    return await new Promise<never>(() => undefined);
  }

  try {
    await (order.file === undefined ? Promise.race([unpacked, feed()]) : unpacked);
  } finally {
    if (stop !== undefined) signal?.removeEventListener("abort", stop);
    // Nothing may write to the directory any more once the caller hears of the end.
    await worker.terminate();
    wake?.();
  }
}
