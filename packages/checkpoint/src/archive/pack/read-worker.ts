import { parentPort, workerData } from "node:worker_threads";
import { sendError, yieldToOtherThreads } from "@cairn/kv/threads";
import type { Paired, SentError } from "@cairn/kv/threads";
import type { Manifest } from "../../store/checkpoint.ts";
import { PieceMemory } from "../piece-memory.ts";
import { tarPieces } from "./tar-pieces.ts";
import type { PackedFiles } from "./tar-pieces.ts";

/** What the thread that reads files sends: pieces of a tar archive, whose memory is to be sent back; then what they were. */
export type ReadMessage =
  | { readonly memory: ArrayBuffer; readonly bytes: number }
  | { readonly files: Manifest["files"] }
  | { readonly failed: SentError };

/** Enough for both threads to be busy. */
const PIECES = 4;

async function read({ peer, ...order }: Paired<PackedFiles>): Promise<void> {
  const memory = new PieceMemory(PIECES);
  peer.on("message", (returned: ArrayBuffer) => memory.giveBack(returned));
  const files: Manifest["files"] = [];
  for await (const { buffer, length } of tarPieces(order, memory, files)) {
    peer.postMessage({ memory: buffer, bytes: length } satisfies ReadMessage, [buffer]);
  }
  peer.postMessage({ files } satisfies ReadMessage, []);
}

if (parentPort !== null) {
  const order: Paired<PackedFiles> = workerData;
  yieldToOtherThreads();
  try {
    await read(order);
  } catch (error) {
    order.peer.postMessage({ failed: sendError(error) } satisfies ReadMessage, []);
  }
}
