import { createHash } from "node:crypto";
import { lstatSync, writeSync } from "node:fs";
import { join } from "node:path";
import { pipeline, Readable } from "node:stream";
import { parentPort, workerData } from "node:worker_threads";
import { createGzip } from "node:zlib";
import type { PackedArchive } from "./pack.ts";
import type { ReadMessage } from "./read-worker.ts";
import { flushBehind } from "./stores/flush-behind.ts";
import { PieceMemory, tarPieces } from "./tar-pieces.ts";
import type { PackedFiles } from "./tar-pieces.ts";
import { receiveError, sendError, startWorker, yieldToOtherThreads } from "./worker-thread.ts";
import type { SentError } from "./worker-thread.ts";

/** What a packing thread is started with. */
export interface PackOrder extends PackedFiles {
  readonly compression: "none" | "gzip";
  /** A file to write to; without one the archive is sent, `pieces` at once, and then as many as it is asked for by number. */
  readonly file?: number;
  readonly pieces: number;
}

/** What it sends: how far it is and, without a file, the archive; then what it packed, or why it ended. */
export type PackMessage =
  | { readonly done: number; readonly piece?: ArrayBuffer }
  | { readonly packed: PackedArchive }
  | { readonly failed: SentError; readonly writing: boolean };

const SMALL = 16 * 1024 * 1024;

type Port = NonNullable<typeof parentPort>;
type Pieces = AsyncIterable<Buffer>;

/** Takes the pieces of an archive, in order. */
interface Target {
  take(piece: Buffer): Promise<void> | void;
  end(): Promise<void>;
}

/** An error of the file that is written to, which its owner can explain. */
class WriteFailure extends Error {}

async function pack(order: PackOrder, port: Port): Promise<PackedArchive> {
  const digest = createHash("sha256");
  const files: PackedArchive["files"] = [];
  let bytes = 0;
  let read = 0;

  async function* counted(): AsyncGenerator<Buffer, void, undefined> {
    for await (const piece of isSmall(order) ? readHere(order, files) : readBeside(order, files)) {
      read += piece.length;
      yield piece;
    }
  }

  const target = order.file === undefined ? sendTo(port, order.pieces, () => read) : writeTo(order.file);
  for await (const piece of order.compression === "gzip" ? gzipped(counted()) : counted()) {
    digest.update(piece);
    bytes += piece.length;
    await target.take(piece);
    if (order.file !== undefined) port.postMessage({ done: read } satisfies PackMessage);
  }
  await target.end();
  return { bytes, sha256: digest.digest("hex"), files };
}

/** Whether the start of another thread would take longer than it spares. */
function isSmall({ dir, names }: PackOrder): boolean {
  let bytes = 0;
  for (const name of names) bytes += lstatSync(join(dir, name)).size;
  return bytes < SMALL;
}

async function* readHere(
  order: PackOrder,
  files: PackedArchive["files"],
): AsyncGenerator<Buffer, void, undefined> {
  const memory = new PieceMemory(1);
  for await (const piece of tarPieces(order, memory, files)) {
    yield piece;
    memory.giveBack(piece.buffer);
  }
}

/** The archive as a thread of its own reads it, so that both digests are computed at once. A piece is good until the next is asked for. */
async function* readBeside(
  { dir, names, tables }: PackOrder,
  files: PackedArchive["files"],
): AsyncGenerator<Buffer, void, undefined> {
  const order: PackedFiles = { dir, names, tables };
  const reader = startWorker("read-worker", order);
  const received: ReadMessage[] = [];
  let failure: Error | undefined;
  let wake: (() => void) | undefined;
  reader.on("message", (message: ReadMessage) => {
    received.push(message);
    wake?.();
  });
  reader.on("error", (error) => {
    failure = error instanceof Error ? error : new Error(String(error));
    wake?.();
  });
  try {
    for (;;) {
      const message = received.shift();
      if (message === undefined) {
        if (failure !== undefined) throw failure;
        await new Promise<void>((resolve) => (wake = resolve));
      } else if ("memory" in message) {
        yield Buffer.from(message.memory, 0, message.bytes);
        reader.postMessage(message.memory, [message.memory]);
      } else if ("files" in message) {
        files.push(...message.files);
        return;
      } else throw receiveError(message.failed);
    }
  } finally {
    await reader.terminate();
  }
}

function gzipped(source: Pieces): Pieces {
  // LevelDB has compressed its tables already; the fastest level finds nearly all that is left.
  // Errors of the source reach the reader through the destroyed stream, so the callback has nothing to add.
  return pipeline(
    Readable.from(copied(source), { objectMode: false }),
    createGzip({ level: 1 }),
    () => undefined,
  );
}

async function* copied(source: Pieces): AsyncGenerator<Buffer, void, undefined> {
  for await (const piece of source) yield Buffer.from(piece);
}

function sendTo(port: Port, pieces: number, done: () => number): Target {
  const wanted = { pieces };
  let wake: (() => void) | undefined;
  port.on("message", (more: number) => {
    wanted.pieces += more;
    wake?.();
  });
  return {
    async take(piece) {
      while (wanted.pieces <= 0) await new Promise<void>((resolve) => (wake = resolve));
      wanted.pieces -= 1;
      const own = Uint8Array.prototype.slice.call(piece).buffer;
      port.postMessage({ done: done(), piece: own } satisfies PackMessage, [own]);
    },
    end: () => Promise.resolve(),
  };
}

function writeTo(file: number): Target {
  const flushing = flushBehind(file);
  return {
    take(piece) {
      try {
        for (let at = 0; at < piece.length;) at += writeSync(file, piece, at);
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
  port.close();
}
