import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import {
  Inbox,
  type Paired,
  receiveError,
  sendError,
  type SentError,
  lowerThreadPriority,
} from "@cairn/kv/threads";
import type { Manifest } from "../../store/checkpoint.ts";
import { chunkSource } from "../../encryption/age-payload.ts";
import { PieceMemory } from "../piece-memory.ts";
import {
  type FilePiece,
  fileSource,
  type FileSink,
  fileWriter,
  ReadFailure,
  receiveArchive,
} from "./receive-archive.ts";

// Two threads run this module: one takes the archive apart and verifies it, and the other writes and flushes its files.

export interface WriteOrder {
  readonly role: "write";
  readonly dir: string;
  readonly background: boolean;
}

export interface UnpackOrder {
  readonly role: "unpack";
  readonly manifest: Manifest;
  readonly identities: readonly Uint8Array[];
  /** The source of the archive: an open file, or chunks that are announced one by one. */
  readonly archive: number | SharedChunks;
  readonly background: boolean;
}

/** Memory shared by both threads, in chunks of `size` bytes. */
export interface SharedChunks {
  readonly memory: SharedArrayBuffer;
  readonly size: number;
}

/** Sent to the unpacking thread if there is no file: the number of bytes in each filled chunk, and finally the end. */
export type UnpackRequest = { readonly chunk: number; readonly bytes: number } | "end";

/** Sent by the unpacking thread. `reading` means that the archive's file could not be read. */
export type UnpackMessage =
  | { readonly done: number }
  | { readonly freed: number }
  | { readonly failed: SentError; readonly reading: boolean }
  | { readonly unpacked: true };

type WriteRequest = FilePiece | "end";

/** Sent by the writing thread: the memory of every piece, even after a failure; finally that all files are flushed. */
type WriteMessage =
  | { readonly memory: ArrayBuffer; readonly failed?: SentError }
  | { readonly ended: true; readonly failed?: SentError };

/** The number of pieces, enough to keep both threads busy. */
const PIECES = 4;

/** The minimum number of bytes between two progress reports, except before the last. */
const REPORT_BYTES = 1024 * 1024;

type Port = NonNullable<typeof parentPort>;

async function unpack({ archive, peer, ...order }: Paired<UnpackOrder>, port: Port): Promise<void> {
  let reported = 0;
  await receiveArchive({
    ...order,
    source: typeof archive === "number" ? fileSource(archive) : chunkSource(chunksSentTo(port, archive)),
    sink: sinkOnThread(peer),
    onProgress(done) {
      if (done - reported < REPORT_BYTES && done < order.manifest.archive.bytes) return;
      reported = done;
      port.postMessage({ done } satisfies UnpackMessage);
    },
  });
}

/** If the thread at the other end of `peer` ends early, the thread that started both ends this one too. */
function sinkOnThread(peer: MessagePort): FileSink {
  const memory = new PieceMemory(PIECES);
  // The next call throws it. The writing thread returns memory even after a failure, so that no call waits forever.
  let failure: { readonly error: unknown } | undefined;
  const ended = new Inbox<true>();
  const send = (request: WriteRequest, transfer: ArrayBuffer[]): void => peer.postMessage(request, transfer);
  const rethrow = (): void => {
    if (failure !== undefined) throw failure.error;
  };

  peer.on("message", (message: WriteMessage) => {
    if (message.failed !== undefined) failure ??= { error: receiveError(message.failed) };
    if ("memory" in message) memory.put(message.memory);
    else ended.put(message.ended);
  });

  return {
    async memory() {
      const taken = await memory.take();
      rethrow();
      return taken;
    },
    take(piece) {
      send(piece, [piece.memory]);
      return Promise.resolve();
    },
    async end() {
      send("end", []);
      await ended.take();
      rethrow();
    },
  };
}

async function* chunksSentTo(
  port: Port,
  { memory, size }: SharedChunks,
): AsyncGenerator<Uint8Array, void, undefined> {
  const sent = new Inbox<UnpackRequest>();
  port.on("message", (request: UnpackRequest) => sent.put(request));
  for (let request = await sent.take(); request !== "end"; request = await sent.take()) {
    const { chunk, bytes } = request;
    yield Buffer.from(memory, chunk * size, bytes);
    port.postMessage({ freed: chunk } satisfies UnpackMessage);
  }
}

function serveWrites({ dir }: WriteOrder, peer: MessagePort): void {
  const writer = fileWriter(dir);
  let failed: SentError | undefined;
  // Each request waits for the previous one, because the pieces of a file must stay in order.
  let before: Promise<void> = Promise.resolve();

  async function attempt(work: () => Promise<void>): Promise<{ failed?: SentError }> {
    try {
      if (failed === undefined) await work();
    } catch (error) {
      failed = sendError(error);
    }
    return failed === undefined ? {} : { failed };
  }

  async function handle(request: WriteRequest): Promise<void> {
    if (request === "end") {
      const result = await attempt(() => writer.end());
      peer.postMessage({ ended: true, ...result } satisfies WriteMessage, []);
      return;
    }
    const result = await attempt(() => writer.write(request));
    const { memory } = request;
    peer.postMessage({ memory, ...result } satisfies WriteMessage, [memory]);
  }

  peer.on("message", (request: WriteRequest) => {
    const previous = before;
    before = (async () => {
      await previous;
      await handle(request);
    })();
  });
}

if (parentPort !== null) {
  const port = parentPort;
  const order: Paired<WriteOrder> | Paired<UnpackOrder> = workerData;
  if (order.background) lowerThreadPriority();
  if (order.role === "write") serveWrites(order, order.peer);
  else {
    try {
      await unpack(order, port);
      port.postMessage({ unpacked: true } satisfies UnpackMessage);
    } catch (error) {
      const reading = error instanceof ReadFailure;
      port.postMessage({ failed: sendError(reading ? error.cause : error), reading } satisfies UnpackMessage);
    }
  }
}
