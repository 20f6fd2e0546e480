import type { FileSink } from "./file-sink.ts";
import { PieceMemory } from "./piece-memory.ts";
import { receiveError, startWorker } from "@cairn/kv/threads";
import type { WriteMessage, WriteOrder, WriteRequest } from "./write-worker.ts";

/** Enough for both threads to be busy. */
const PIECES = 4;

/** Writes on a thread of its own, which ends with the one that started it. */
export function sinkBeside(order: WriteOrder): FileSink {
  const memory = new PieceMemory(PIECES);
  const worker = startWorker(import.meta.url, "write-worker", order);
  let failure: { readonly error: unknown } | undefined;
  let ended: (() => void) | undefined;
  let dead: (error: unknown) => void;
  const death = new Promise<never>((_resolve, reject) => (dead = reject));
  // Told to whoever waits then; when nobody does it is no error.
  death.catch(() => undefined);
  const send = (request: WriteRequest, transfer: ArrayBuffer[]): void =>
    worker.postMessage(request, transfer);
  const rethrow = (): void => {
    if (failure !== undefined) throw failure.error;
  };

  worker.on("error", (error) => dead(error));
  worker.on("exit", () => dead(new Error("The thread that writes the files ended early.")));
  worker.on("message", (message: WriteMessage) => {
    if (message.failed !== undefined) failure ??= { error: receiveError(message.failed) };
    if ("memory" in message) memory.giveBack(message.memory);
    else ended?.();
  });

  return {
    async memory() {
      const taken = await Promise.race([memory.take(), death]);
      rethrow();
      return taken;
    },
    take(piece) {
      send(piece, [piece.memory]);
      return Promise.resolve();
    },
    async end() {
      const flushed = new Promise<void>((resolve) => (ended = resolve));
      send("end", []);
      await Promise.race([flushed, death]);
      rethrow();
    },
  };
}
