import { parentPort, workerData } from "node:worker_threads";
import { sendError, yieldToOtherThreads } from "@cairn/kv/threads";
import type { Paired, SentError } from "@cairn/kv/threads";
import type { Manifest } from "../../store/checkpoint.ts";
import { manifestWriter } from "./file-sink.ts";
import type { FilePiece } from "./file-writer.ts";

/** What a writing thread is started with; its peer is who sends it the pieces. */
export interface WriteOrder {
  readonly dir: string;
  readonly manifest: Manifest;
  readonly background: boolean;
}

/** What it is sent: pieces, then that there are no more. */
export type WriteRequest = FilePiece | "end";

/** What it sends: the memory of every piece, also of those after a failure; at last that all is flushed, or why not. */
export type WriteMessage =
  | { readonly memory: ArrayBuffer; readonly failed?: SentError }
  | { readonly ended: true; readonly failed?: SentError };

function serve({ dir, manifest, peer }: Paired<WriteOrder>): void {
  const writer = manifestWriter(dir, manifest);
  let failed: SentError | undefined;
  // Requests come while one is at work: each waits for the one before, since pieces of a file are written in the order they were sent.
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
    const turn = before;
    before = (async () => {
      await turn;
      await handle(request);
    })();
  });
}

if (parentPort !== null) {
  const order: Paired<WriteOrder> = workerData;
  if (order.background) yieldToOtherThreads();
  serve(order);
}
