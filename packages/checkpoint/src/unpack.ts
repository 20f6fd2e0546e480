import { diskError, makeFolder } from "@cairn/kv";
import { incomplete } from "./archive-errors.ts";
import { chunkSource } from "./archive-source.ts";
import { ARCHIVE_FORMATS } from "./checkpoint.ts";
import type { Manifest } from "./checkpoint.ts";
import type { StoredContent } from "./checkpoint-store.ts";
import { manifestWriter, sinkHere } from "./file-sink.ts";
import { receiveArchive } from "./receive-archive.ts";
import { unlessAborted } from "./stores/unless-aborted.ts";
import { syncFolder } from "./stores/write-file.ts";
import type { UnpackMessage, UnpackOrder, UnpackRequest } from "./unpack-worker.ts";
import { Inbox, inboxOf, receiveError, startWorker, WORTH_A_THREAD } from "@cairn/kv/threads";

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
  const sent = inboxOf<UnpackMessage>(worker, () =>
    incomplete(order.manifest, "the thread that unpacked it ended early"),
  );
  const room = new Inbox<1>(Array.from({ length: CHUNKS }, () => 1 as const));
  const send = (request: UnpackRequest): void => worker.postMessage(request, []);

  /** What counts is what the other thread says, also of what it was fed. */
  async function follow(): Promise<void> {
    for (;;) {
      const message = await sent.take();
      if ("unpacked" in message) return;
      if ("failed" in message) throw receiveError(message.failed);
      if ("done" in message) onProgress?.(message.done);
      else room.put(message.took);
    }
  }

  /** Never ends when it is done, only when it fails. */
  async function feed(): Promise<never> {
    for await (const chunk of archive) {
      await room.take();
      send({ chunk });
    }
    send("end");
    return await new Promise<never>(() => undefined);
  }

  try {
    const unpacked = order.file === undefined ? Promise.race([follow(), feed()]) : follow();
    await unlessAborted(unpacked, signal);
  } finally {
    // Nothing may write to the directory any more once the caller hears of the end.
    await worker.terminate();
    // Lets go of the archive.
    room.fail(new Error("Nobody takes any more of the archive."));
  }
}
