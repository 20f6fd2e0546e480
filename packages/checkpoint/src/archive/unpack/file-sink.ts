import { close, fsync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import type { MessagePort } from "node:worker_threads";
import { Inbox, receiveError, type SentError } from "@cairn/kv/threads";
import { PieceMemory } from "../piece-memory.ts";

/** A piece of a file's content, at the beginning of `memory`. */
export interface FilePiece {
  readonly name: string;
  readonly memory: ArrayBuffer;
  readonly bytes: number;
  /** For a small or empty file, both `first` and `last` are true. */
  readonly first: boolean;
  readonly last: boolean;
}

/** The destination of the files of an archive. */
export interface FileSink {
  /** Returns memory for the next piece, after waiting until some is free; {@link take} gives it back. */
  memory(): Promise<ArrayBuffer>;
  /** Takes a piece. The piece may be written later; if that fails, a later call throws the error. */
  take(piece: FilePiece): Promise<void>;
  /** Waits until all files are durable. Throws the first error. */
  end(): Promise<void>;
}

/** Writes files piece by piece, one file after the other. */
export interface FileWriter {
  /** Writes a piece. Its memory belongs to the caller again afterwards. */
  write(piece: FilePiece): Promise<void>;
  /** Like {@link FileSink.end}. */
  end(): Promise<void>;
}

/** Sent to the writing thread: pieces, and finally the end. */
export type WriteRequest = FilePiece | "end";

/**
 * Sent by the writing thread: the memory of every piece, even after a failure; finally the confirmation that all files
 * are flushed, or the failure.
 */
export type WriteMessage =
  | { readonly memory: ArrayBuffer; readonly failed?: SentError }
  | { readonly ended: true; readonly failed?: SentError };

/** The maximum number of files that are flushed concurrently. A flush consists mostly of waiting. */
const MAX_FLUSHES = 8;
/** The number of pieces, enough to keep both threads busy. */
const PIECES = 4;

const flush = promisify(fsync);
const closeFile = promisify(close);

/** The writer creates files in `dir` synchronously, and flushes each one while the next ones are written. */
export function fileWriter(dir: string): FileWriter {
  const running = new Set<Promise<void>>();
  // The first failure of a background flush; it is thrown by the next `begin`, or at the end.
  let failure: { readonly error: unknown } | undefined;
  let current: number | undefined;

  /** Closes the file, after flushing it if it is complete. */
  function finish(file: number, whole: boolean): void {
    const work = whole ? flush(file).finally(() => closeFile(file)) : closeFile(file);
    const one = work
      .catch((error: unknown) => {
        failure ??= { error };
      })
      .finally(() => running.delete(one));
    running.add(one);
  }

  async function begin(name: string): Promise<number> {
    while (running.size >= MAX_FLUSHES) await Promise.race(running);
    if (failure !== undefined) throw failure.error;
    return openSync(join(dir, name), "wx");
  }

  return {
    async write({ name, memory, bytes, first, last }) {
      if (first) current = await begin(name);
      if (current === undefined) throw new Error(`The first piece of ${name} is missing.`);
      const content = Buffer.from(memory, 0, bytes);
      for (let at = 0; at < bytes;) at += writeSync(current, content, at);
      if (!last) return;
      finish(current, true);
      current = undefined;
    },
    async end() {
      // A file can be open here only after a failure.
      if (current !== undefined) finish(current, false);
      current = undefined;
      while (running.size > 0) await Promise.race(running);
      if (failure !== undefined) throw failure.error;
    },
  };
}

export function sinkHere(writer: FileWriter): FileSink {
  const memory = new PieceMemory(1);
  return {
    memory: () => memory.take(),
    async take(piece) {
      await writer.write(piece);
      memory.giveBack(piece.memory);
    },
    end: () => writer.end(),
  };
}

/** If the thread at the other end of `peer` ends early, the thread that started both ends this one too. */
export function sinkOnThread(peer: MessagePort): FileSink {
  const memory = new PieceMemory(PIECES);
  // The error that the next call throws. The writing thread keeps returning memory after a failure, so that no call waits forever.
  let failure: { readonly error: unknown } | undefined;
  const ended = new Inbox<true>();
  const send = (request: WriteRequest, transfer: ArrayBuffer[]): void => peer.postMessage(request, transfer);
  const rethrow = (): void => {
    if (failure !== undefined) throw failure.error;
  };

  peer.on("message", (message: WriteMessage) => {
    if (message.failed !== undefined) failure ??= { error: receiveError(message.failed) };
    if ("memory" in message) memory.giveBack(message.memory);
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
