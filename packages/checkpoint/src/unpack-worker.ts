import { parentPort, workerData } from "node:worker_threads";
import { chunkSource, fileSource } from "./archive-source.ts";
import type { Manifest } from "./checkpoint.ts";
import { receiveArchive } from "./receive-archive.ts";
import { sinkBeside } from "./sink-beside.ts";
import { Inbox, sendError, yieldToOtherThreads } from "@cairn/kv/threads";
import type { SentError } from "@cairn/kv/threads";

/** What an unpacking thread is started with. */
export interface UnpackOrder {
  readonly dir: string;
  readonly manifest: Manifest;
  readonly compressed: boolean;
  /** The archive's file; without one its bytes are sent. */
  readonly file?: number;
  readonly background: boolean;
}

/** What it is sent where it has no file: the archive's bytes, then that there are no more. */
export type UnpackRequest = { readonly chunk: Uint8Array } | "end";

/** What it sends: bytes of the archive read so far, chunks that it is done with, and how it ended. */
export type UnpackMessage =
  | { readonly done: number }
  | { readonly took: 1 }
  | { readonly failed: SentError }
  | { readonly unpacked: true };

type Port = NonNullable<typeof parentPort>;

async function unpack({ file, ...order }: UnpackOrder, port: Port): Promise<void> {
  let told = 0;
  await receiveArchive({
    ...order,
    source: file === undefined ? chunkSource(sentTo(port)) : fileSource(file),
    sink: sinkBeside(order),
    onProgress(done) {
      if (done - told < 1024 * 1024 && done < order.manifest.archive.bytes) return;
      told = done;
      port.postMessage({ done } satisfies UnpackMessage);
    },
  });
}

async function* sentTo(port: Port): AsyncGenerator<Uint8Array, void, undefined> {
  const sent = new Inbox<UnpackRequest>();
  port.on("message", (request: UnpackRequest) => sent.put(request));
  for (let request = await sent.take(); request !== "end"; request = await sent.take()) {
    yield request.chunk;
    port.postMessage({ took: 1 } satisfies UnpackMessage);
  }
}

if (parentPort !== null) {
  const port = parentPort;
  const order: UnpackOrder = workerData;
  if (order.background) yieldToOtherThreads();
  try {
    await unpack(order, port);
    port.postMessage({ unpacked: true } satisfies UnpackMessage);
  } catch (error) {
    port.postMessage({ failed: sendError(error) } satisfies UnpackMessage);
  }
}
