import type { MessagePort } from "node:worker_threads";
import { Inbox, receiveError } from "@cairn/kv/threads";
import type { FileSink } from "./file-sink.ts";
import { PieceMemory } from "../piece-memory.ts";
import type { WriteMessage, WriteRequest } from "./write-worker.ts";

/** Enough for both threads to be busy. */
const PIECES = 4;

/** Has the thread at the other end of `peer` write. Should that end early, whoever started both is told, and ends this one too. */
export function sinkBeside(peer: MessagePort): FileSink {
  const memory = new PieceMemory(PIECES);
  // Told with a piece or at the end; the thread goes on to give back memory, so that nobody waits for it in vain.
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
