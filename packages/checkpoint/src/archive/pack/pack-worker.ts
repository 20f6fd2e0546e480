import { writeSync } from "node:fs";
import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import { Inbox, receiveError, sendError, yieldToOtherThreads } from "@cairn/kv/threads";
import type { Paired, SentError } from "@cairn/kv/threads";
import { archivePieces, PASSES } from "./archive-pieces.ts";
import type { ArchiveOrder, PackedArchive } from "./archive-pieces.ts";
import { Pace, SLICE } from "../pace.ts";
import type { ReadMessage } from "./read-worker.ts";
import { flushBehind } from "../../disk/flush-behind.ts";

/** What a packing thread is started with; its peer is a thread that reads. */
export interface PackOrder extends ArchiveOrder {
  /** A file to write to; without one the archive is sent, `pieces` at once, and then one for each {@link PackRequest}. */
  readonly file?: number;
  readonly pieces: number;
}

/** What it is sent for each piece that was taken. */
export type PackRequest = "one more";

/** What it sends: how far it is and, without a file, the archive; then what it packed, or why it ended. */
export type PackMessage =
  | { readonly done: number; readonly piece?: ArrayBuffer }
  | { readonly packed: PackedArchive }
  | { readonly failed: SentError; readonly writing: boolean };

/** How much more is packed before that is told: whoever is told has something else to do. */
const TOLD_BYTES = 16 * 1024 * 1024;

type Port = NonNullable<typeof parentPort>;

/** Takes the pieces of an archive, in order. */
interface Target {
  take(piece: Buffer): Promise<void> | void;
  end(): Promise<void>;
}

/** An error of the file that is written to, which its owner can explain. */
class WriteFailure extends Error {}

async function pack(order: Paired<PackOrder>, port: Port): Promise<PackedArchive> {
  const files: PackedArchive["files"] = [];
  let read = 0;
  let told = 0;

  async function* plain(): AsyncGenerator<Buffer, void, undefined> {
    for await (const piece of readBeside(order.peer, files)) {
      read += piece.length;
      yield piece;
    }
  }

  const target =
    order.file === undefined
      ? sendTo(port, order.pieces, () => read)
      : writeTo(order.file, new Pace(order.pace, PASSES));
  const pieces = archivePieces(plain(), order, files);
  for (;;) {
    const next = await pieces.next();
    if (next.done === true) {
      await target.end();
      if (told < read && order.file !== undefined) port.postMessage({ done: read } satisfies PackMessage);
      return next.value;
    }
    await target.take(next.value);
    if (order.file !== undefined && read - told >= TOLD_BYTES) {
      told = read;
      port.postMessage({ done: read } satisfies PackMessage);
    }
  }
}

/** The pieces as the other thread reads them. Should that end early, whoever started both is told, and ends this one too. */
async function* readBeside(
  reader: MessagePort,
  files: PackedArchive["files"],
): AsyncGenerator<Buffer, void, undefined> {
  const sent = new Inbox<ReadMessage>();
  reader.on("message", (message: ReadMessage) => sent.put(message));
  for (;;) {
    const message = await sent.take();
    if ("memory" in message) {
      yield Buffer.from(message.memory, 0, message.bytes);
      reader.postMessage(message.memory, [message.memory]);
    } else if ("files" in message) {
      files.push(...message.files);
      return;
    } else throw receiveError(message.failed);
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

function writeTo(file: number, pace: Pace): Target {
  const flushing = flushBehind(file);
  return {
    take(piece) {
      try {
        for (let at = 0; at < piece.length;) {
          const written = writeSync(file, piece, at, Math.min(SLICE, piece.length - at));
          at += written;
          pace.between(written);
        }
      } catch (error) {
        throw new WriteFailure("", { cause: error });
      }
      flushing.written(piece.length);
    },
    async end() {
      await flushing.settled().catch((error: unknown) => {
        throw new WriteFailure("", { cause: error });
      });
    },
  };
}

if (parentPort !== null) {
  const port = parentPort;
  yieldToOtherThreads();
  try {
    const packed = await pack(workerData, port);
    port.postMessage({ packed } satisfies PackMessage);
  } catch (error) {
    const writing = error instanceof WriteFailure;
    port.postMessage({ failed: sendError(writing ? error.cause : error), writing } satisfies PackMessage);
  }
}
