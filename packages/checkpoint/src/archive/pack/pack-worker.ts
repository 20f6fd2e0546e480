import { fdatasync, writeSync } from "node:fs";
import { promisify } from "node:util";
import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import {
  Inbox,
  type Paired,
  receiveError,
  sendError,
  type SentError,
  lowerThreadPriority,
} from "@cairn/kv/threads";
import { PieceMemory } from "../piece-memory.ts";
import {
  type ArchiveOrder,
  archivePieces,
  type PackedArchive,
  type PackedFiles,
  packingPasses,
  tarPieces,
  type TarPiece,
} from "./archive-pieces.ts";
import { SLICE_BYTES, Throttle } from "./throttle.ts";

// Two threads run this module: one reads files as plain tar pieces, and the other writes or sends the archive.

export interface ReadOrder extends PackedFiles {
  readonly role: "read";
}

export interface PackOrder extends ArchiveOrder {
  readonly role: "pack";
  /** The descriptor to write to. If absent, `pieces` pieces are sent at once, and one per {@link PackRequest}. */
  readonly file?: number;
  readonly pieces: number;
}

/** Sent to the packing thread for each piece that the receiver takes. */
export type PackRequest = "one more";

/** Progress, with pieces of the archive if there is no file; finally the result or the failure. */
export type PackMessage =
  | { readonly done: number; readonly piece?: ArrayBuffer }
  | { readonly packed: PackedArchive }
  | { readonly failed: SentError; readonly writing: boolean };

/** Sent by the reading thread: pieces, whose memory is sent back; finally the end, or the failure. */
type ReadMessage = TarPiece | "end" | { readonly failed: SentError };

/** The number of pieces, enough to keep both threads busy. */
const PIECES = 4;
/** The minimum number of bytes between two reports. It is large because the receiver has other work to do. */
const REPORT_BYTES = 16 * 1024 * 1024;
/** Larger flushes would block other users of the disk, and smaller ones would wait for the disk too often. */
const FLUSH_BYTES = 16 * 1024 * 1024;

const flush = promisify(fdatasync);

type Port = NonNullable<typeof parentPort>;

interface Target {
  take(piece: Buffer): Promise<void> | void;
  end(): Promise<void>;
}

/** A failure to write the file, which the file's owner can explain. */
class WriteFailure extends Error {}

async function read({ peer, ...order }: Paired<ReadOrder>): Promise<void> {
  const memory = new PieceMemory(PIECES);
  peer.on("message", (returned: ArrayBuffer) => memory.put(returned));
  for await (const piece of tarPieces(order, memory)) {
    peer.postMessage(piece satisfies ReadMessage, [piece.memory]);
  }
  peer.postMessage("end" satisfies ReadMessage, []);
}

async function pack(order: Paired<PackOrder>, port: Port): Promise<PackedArchive> {
  let done = 0;
  let reported = 0;

  async function* plain(): AsyncGenerator<TarPiece, void, undefined> {
    for await (const piece of piecesFrom(order.peer)) {
      done += piece.bytes;
      yield piece;
    }
  }

  const target =
    order.file === undefined
      ? sendTo(port, order.pieces, () => done)
      : writeTo(order.file, new Throttle(order.throttle, packingPasses(order)));
  const pieces = archivePieces(plain(), order);
  for (;;) {
    const next = await pieces.next();
    if (next.done === true) {
      await target.end();
      if (reported < done && order.file !== undefined) port.postMessage({ done } satisfies PackMessage);
      return next.value;
    }
    await target.take(next.value);
    if (order.file !== undefined && done - reported >= REPORT_BYTES) {
      reported = done;
      port.postMessage({ done } satisfies PackMessage);
    }
  }
}

/** Yields the pieces of the reading thread. If that ends early, the thread that started both ends this one too. */
async function* piecesFrom(reader: MessagePort): AsyncGenerator<TarPiece, void, undefined> {
  const sent = new Inbox<ReadMessage>();
  reader.on("message", (message: ReadMessage) => sent.put(message));
  for (;;) {
    const message = await sent.take();
    if (message === "end") return;
    if ("failed" in message) throw receiveError(message.failed);
    yield message;
    reader.postMessage(message.memory, [message.memory]);
  }
}

function sendTo(port: Port, pieces: number, done: () => number): Target {
  const wanted = new Inbox<PackRequest>(Array.from({ length: pieces }, () => "one more" as const));
  port.on("message", (request: PackRequest) => wanted.put(request));
  return {
    async take(piece) {
      await wanted.take();
      const own = Uint8Array.prototype.slice.call(piece).buffer;
      port.postMessage({ done: done(), piece: own } satisfies PackMessage, [own]);
    },
    end: () => Promise.resolve(),
  };
}

/** The target flushes the file while it grows. This keeps the disk busy, so the final flush takes almost no time. */
function writeTo(file: number, throttle: Throttle): Target {
  let unflushed = 0;
  let flushing: Promise<void> | undefined;
  // The failure is kept, because the data of a failed flush may be lost even if a later flush succeeds.
  let failure: { readonly error: unknown } | undefined;
  return {
    take(piece) {
      try {
        for (let at = 0; at < piece.length;) {
          const written = writeSync(file, piece, at, Math.min(SLICE_BYTES, piece.length - at));
          at += written;
          throttle.pause(written);
        }
      } catch (error) {
        throw new WriteFailure("", { cause: error });
      }
      unflushed += piece.length;
      if (unflushed < FLUSH_BYTES || flushing !== undefined) return;
      unflushed = 0;
      flushing = flush(file)
        .catch((error: unknown) => {
          failure ??= { error };
        })
        .finally(() => {
          flushing = undefined;
        });
    },
    async end() {
      await flushing;
      if (failure !== undefined) throw new WriteFailure("", { cause: failure.error });
    },
  };
}

if (parentPort !== null) {
  const port = parentPort;
  const order: Paired<ReadOrder> | Paired<PackOrder> = workerData;
  lowerThreadPriority();
  try {
    if (order.role === "read") await read(order);
    else port.postMessage({ packed: await pack(order, port) } satisfies PackMessage);
  } catch (error) {
    if (order.role === "read") order.peer.postMessage({ failed: sendError(error) } satisfies ReadMessage, []);
    else {
      const writing = error instanceof WriteFailure;
      port.postMessage({ failed: sendError(writing ? error.cause : error), writing } satisfies PackMessage);
    }
  }
}
