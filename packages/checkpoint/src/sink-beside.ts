import type { FileSink } from "./file-sink.ts";
import { PieceMemory } from "./piece-memory.ts";
import { Inbox, receiveError, startWorker, whenOver } from "@cairn/kv/threads";
import type { WriteMessage, WriteOrder, WriteRequest } from "./write-worker.ts";

/** Enough for both threads to be busy. */
const PIECES = 4;

/** Writes on a thread of its own, which ends with the one that started it. */
export function sinkBeside(order: WriteOrder): FileSink {
  const memory = new PieceMemory(PIECES);
  const worker = startWorker(import.meta.url, "write-worker", order);
  // Told with a piece or at the end; the thread goes on to give back memory, so that nobody waits for it in vain.
  let failure: { readonly error: unknown } | undefined;
  const ended = new Inbox<true>();
  const send = (request: WriteRequest, transfer: ArrayBuffer[]): void =>
    worker.postMessage(request, transfer);
  const rethrow = (): void => {
    if (failure !== undefined) throw failure.error;
  };

  whenOver(worker, endedEarly, (error) => {
    memory.fail(error);
    ended.fail(error);
  });
  worker.on("message", (message: WriteMessage) => {
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

function endedEarly(): Error {
  return new Error("The thread that writes the files ended early.");
}
