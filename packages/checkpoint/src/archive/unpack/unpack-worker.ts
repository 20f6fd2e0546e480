import { parentPort, workerData } from "node:worker_threads";
import { Inbox, sendError, yieldToOtherThreads } from "@cairn/kv/threads";
import type { Paired, SentError } from "@cairn/kv/threads";
import { chunkSource, fileSource } from "./archive-source.ts";
import type { Manifest } from "../../store/checkpoint.ts";
import { receiveArchive } from "./receive-archive.ts";
import { sinkBeside } from "./sink-beside.ts";

/** What an unpacking thread is started with; its peer is a thread that writes. */
export interface UnpackOrder {
  readonly dir: string;
  readonly manifest: Manifest;
  readonly compressed: boolean;
  /** Where the archive's bytes are: in an open file, or in chunks that are told one by one. */
  readonly archive: number | SharedChunks;
  readonly background: boolean;
}

/** Memory that both threads have, in chunks of `size` bytes. */
export interface SharedChunks {
  readonly memory: SharedArrayBuffer;
  readonly size: number;
}

/** What it is sent where it has no file: how many bytes lie in which chunk, then that there are no more. */
export type UnpackRequest = { readonly chunk: number; readonly bytes: number } | "end";

/** What it sends: bytes of the archive read so far, a chunk that it is done with, and how it ended. */
export type UnpackMessage =
  | { readonly done: number }
  | { readonly took: number }
  | { readonly failed: SentError }
  | { readonly unpacked: true };

type Port = NonNullable<typeof parentPort>;

async function unpack({ archive, peer, ...order }: Paired<UnpackOrder>, port: Port): Promise<void> {
  let told = 0;
  await receiveArchive({
    ...order,
    source: typeof archive === "number" ? fileSource(archive) : chunkSource(sentTo(port, archive)),
    sink: sinkBeside(peer),
    onProgress(done) {
      if (done - told < 1024 * 1024 && done < order.manifest.archive.bytes) return;
      told = done;
      port.postMessage({ done } satisfies UnpackMessage);
    },
  });
}

async function* sentTo(
  port: Port,
  { memory, size }: SharedChunks,
): AsyncGenerator<Uint8Array, void, undefined> {
  const sent = new Inbox<UnpackRequest>();
  port.on("message", (request: UnpackRequest) => sent.put(request));
  for (let request = await sent.take(); request !== "end"; request = await sent.take()) {
    const { chunk, bytes } = request;
    yield Buffer.from(memory, chunk * size, bytes);
    port.postMessage({ took: chunk } satisfies UnpackMessage);
  }
}

if (parentPort !== null) {
  const port = parentPort;
  const order: Paired<UnpackOrder> = workerData;
  if (order.background) yieldToOtherThreads();
  try {
    await unpack(order, port);
    port.postMessage({ unpacked: true } satisfies UnpackMessage);
  } catch (error) {
    port.postMessage({ failed: sendError(error) } satisfies UnpackMessage);
  }
}
