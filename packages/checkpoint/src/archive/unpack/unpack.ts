import { diskError, makeFolder, syncFolder } from "@cairn/kv";
import { Inbox, receiveError, startThreadPair, WORTH_A_THREAD } from "@cairn/kv/threads";
import { chunkSource } from "./archive-source.ts";
import { ARCHIVE_FORMATS } from "../../store/checkpoint.ts";
import type { Manifest } from "../../store/checkpoint.ts";
import type { StoredContent } from "../../store/checkpoint-store.ts";
import { manifestWriter, sinkHere } from "./file-sink.ts";
import { receiveArchive } from "./receive-archive.ts";
import { unlessAborted } from "../../timing/unless-aborted.ts";
import type { UnpackMessage, UnpackOrder, UnpackRequest } from "./unpack-worker.ts";
import type { WriteOrder } from "./write-worker.ts";

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

/** Chunks on their way to the other thread, one beside the other in memory that both have: sent as messages, each would be copied twice. */
const CHUNKS = 8;
const CHUNK_BYTES = 256 * 1024;

type Unpacked = Omit<UnpackOrder, "archive">;

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
  try {
    await makeFolder(dir);
    const order = { dir, manifest, compressed, background };
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
  { dir, manifest, compressed }: Unpacked,
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
  order: Unpacked,
  { onProgress, signal }: UnpackOptions,
): Promise<void> {
  signal?.throwIfAborted();
  const { file } = archive;
  const memory = new SharedArrayBuffer(file === undefined ? CHUNKS * CHUNK_BYTES : 0);
  const unpacking: UnpackOrder = { ...order, archive: file ?? { memory, size: CHUNK_BYTES } };
  const { dir, manifest, background } = order;
  const writing: WriteOrder = { dir, manifest, background };
  const threads = startThreadPair<UnpackMessage>(
    import.meta.url,
    { name: "unpack-worker", order: unpacking },
    { name: "write-worker", order: writing },
    // Which says nothing of the archive.
    () => new Error("A thread that unpacked the archive ended early."),
  );
  const { sent } = threads;
  const free = new Inbox<number>(Array.from({ length: CHUNKS }, (_, chunk) => chunk));
  const send = (request: UnpackRequest): void => threads.worker.postMessage(request, []);

  /** What counts is what the other thread says, also of what it was fed. */
  async function follow(): Promise<void> {
    for (;;) {
      const message = await sent.take();
      if ("unpacked" in message) return;
      if ("failed" in message) throw receiveError(message.failed);
      if ("done" in message) onProgress?.(message.done);
      else free.put(message.took);
    }
  }

  /** Never ends when it is done, only when it fails. */
  async function feed(): Promise<never> {
    const source = chunkSource(archive);
    for (let bytes = CHUNK_BYTES; bytes === CHUNK_BYTES;) {
      const chunk = await free.take();
      bytes = await source.fill(Buffer.from(memory, chunk * CHUNK_BYTES, CHUNK_BYTES));
      send({ chunk, bytes });
    }
    send("end");
    return await new Promise<never>(() => undefined);
  }

  try {
    const unpacked = file === undefined ? Promise.race([follow(), feed()]) : follow();
    await unlessAborted(unpacked, signal);
  } finally {
    // Nothing may write to the directory any more once the caller hears of the end.
    await threads.terminate();
    // Lets go of the archive.
    free.fail(new Error("Nobody takes any more of the archive."));
  }
}
