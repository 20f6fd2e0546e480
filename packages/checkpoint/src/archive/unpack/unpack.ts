import { diskError, makeFolder, syncFolder, unlessAborted } from "@cairn/kv";
import { Inbox, receiveError, startThreadPair, ThreadModule, MIN_BYTES_FOR_THREAD } from "@cairn/kv/threads";
import type { Manifest } from "../../store/checkpoint.ts";
import type { StoredContent } from "../../store/checkpoint-store.ts";
import { storedChunks } from "../../store/stored-files.ts";
import { chunkSource } from "../../encryption/age-payload.ts";
import { fileWriter, receiveArchive, sinkHere } from "./receive-archive.ts";
import type { UnpackMessage, UnpackOrder, UnpackRequest, WriteOrder } from "./unpack-worker.ts";

export interface UnpackOptions {
  /** Called occasionally with the number of bytes of the archive that have arrived so far. */
  readonly onProgress?: (bytes: number) => void;
  readonly signal?: AbortSignal | undefined;
  /** Whether all other work of the process has priority. Defaults to false. */
  readonly background?: boolean;
  readonly identities?: readonly Uint8Array[] | undefined;
  /** Whether to use worker threads. By default, they are used for sufficiently large archives. */
  readonly threads?: boolean;
}

/** Chunks in flight are in shared memory, because a chunk that is sent as a message is copied twice. */
const CHUNKS = 8;
const CHUNK_BYTES = 256 * 1024;

const UNPACKING = new ThreadModule(import.meta.url, "unpack-worker");

type Target = Pick<WriteOrder, "dir"> & Omit<UnpackOrder, "role" | "archive">;

/**
 * Creates `dir`, writes the files of an archive into it, verified against the manifest, and flushes them. Throws
 * `CHECKPOINT_CORRUPT` for content that is not in the manifest, `CHECKPOINT_INCOMPLETE` for missing content, the disk's
 * errors, such as `DISK_FULL`, and the store's. After a failure, the caller removes `dir`. Never writes more than the
 * manifest lists.
 */
export async function unpackArchive(
  archive: StoredContent,
  dir: string,
  manifest: Manifest,
  options: UnpackOptions = {},
): Promise<void> {
  const { threads = manifest.archive.bytes >= MIN_BYTES_FOR_THREAD, background = false, signal } = options;
  const { identities = [] } = options;
  try {
    await makeFolder(dir);
    const target = { dir, manifest, identities, background };
    await (threads ? unpackOnThreads(archive, target, options) : unpackHere(archive, target, options));
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
  { dir, manifest, identities }: Target,
  options: UnpackOptions,
): Promise<void> {
  await receiveArchive({
    manifest,
    identities,
    source: chunkSource(counted(archive, manifest, options)),
    sink: sinkHere(fileWriter(dir)),
    onProgress: () => options.signal?.throwIfAborted(),
  });
}

/** Counts what arrives, because over a slow network, it takes minutes until a table is complete and unpacked. */
async function* counted(
  archive: StoredContent,
  { archive: { name } }: Manifest,
  { onProgress, signal }: UnpackOptions,
): AsyncGenerator<Uint8Array, void, undefined> {
  let bytes = 0;
  for await (const chunk of storedChunks(name, archive, signal)) {
    bytes += chunk.length;
    onProgress?.(bytes);
    yield chunk;
  }
}

async function unpackOnThreads(
  archive: StoredContent,
  { dir, manifest, identities, background }: Target,
  options: UnpackOptions,
): Promise<void> {
  const { onProgress, signal } = options;
  signal?.throwIfAborted();
  const { file, explain = (error: unknown) => error } = archive;
  const memory = new SharedArrayBuffer(file === undefined ? CHUNKS * CHUNK_BYTES : 0);
  const chunks = { memory, size: CHUNK_BYTES };
  const unpacking: UnpackOrder = {
    role: "unpack",
    manifest,
    identities,
    background,
    archive: file ?? chunks,
  };
  const writing: WriteOrder = { role: "write", dir, background };
  const threads = startThreadPair<UnpackMessage>(UNPACKING, unpacking, writing);
  const { sent } = threads;
  const free = new Inbox<number>(Array.from({ length: CHUNKS }, (_, chunk) => chunk));
  const send = (request: UnpackRequest): void => threads.worker.postMessage(request, []);

  /** Waits for the result, which comes from the worker even if this thread feeds the worker. */
  async function follow(): Promise<void> {
    for (;;) {
      const message = await sent.take();
      if ("unpacked" in message) return;
      if ("failed" in message) {
        const error = receiveError(message.failed);
        throw message.reading ? explain(error) : error;
      }
      if ("freed" in message) free.put(message.freed);
      // What this thread feeds to the worker is counted when it arrives.
      else if (file !== undefined) onProgress?.(message.done);
    }
  }

  /** Sends the archive to the worker. Never resolves; rejects if the archive cannot be read. */
  async function feed(): Promise<never> {
    const source = chunkSource(counted(archive, manifest, options));
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
    // Nothing may write to the directory after the end.
    await threads.terminate(signal);
    // Ends `feed`, which holds the archive.
    free.fail(new Error("The archive is no longer read."));
  }
}
