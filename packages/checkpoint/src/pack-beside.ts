import type { Worker } from "node:worker_threads";
import { CairnError } from "@cairn/kv";
import type { ArchiveOrder, PackedArchive } from "./archive-pieces.ts";
import { paceByThisThread } from "./pace-by-this-thread.ts";
import type { Pacing } from "./pace-by-this-thread.ts";
import type { Writing } from "./pack.ts";
import type { PackMessage, PackOrder } from "./pack-worker.ts";
import { receiveError, startWorker } from "@cairn/kv/threads";

/** On their way to this thread, of at most 4 MiB each. */
const PIECES = 3;

/** Makes an archive on other threads and writes it there, too. Nothing writes to `file` any more after the end. */
export async function writeBeside(
  order: ArchiveOrder,
  file: number,
  { explain, signal, onProgress }: Writing,
): Promise<PackedArchive> {
  signal?.throwIfAborted();
  const { worker, pacing } = start({ ...order, file, pieces: 0 });
  let stop: (() => void) | undefined;
  try {
    return await new Promise((resolve, reject) => {
      stop = () => reject(signal?.reason);
      signal?.addEventListener("abort", stop, { once: true });
      onEnd(worker, reject);
      const tell = (done: number): void => {
        try {
          onProgress(done);
        } catch (error) {
          // Thrown to the thread's messages, it would end the process.
          reject(error);
        }
      };
      worker.on("message", (message: PackMessage) => {
        if ("packed" in message) resolve(message.packed);
        else if ("done" in message) tell(message.done);
        else {
          const error = receiveError(message.failed);
          reject(message.writing ? explain(error) : error);
        }
      });
    });
  } finally {
    if (stop !== undefined) signal?.removeEventListener("abort", stop);
    pacing.stop();
    await worker.terminate();
  }
}

/** Makes an archive on other threads and yields it in pieces that are the receiver's own. */
export async function* archiveBeside(
  order: ArchiveOrder,
  onProgress: (bytes: number) => void,
): AsyncGenerator<Buffer, PackedArchive, undefined> {
  const { worker, pacing } = start({ ...order, pieces: PIECES });
  const received: PackMessage[] = [];
  let failure: { readonly error: unknown } | undefined;
  let wake: (() => void) | undefined;
  onEnd(worker, (error) => {
    failure ??= { error };
    wake?.();
  });
  worker.on("message", (message: PackMessage) => {
    received.push(message);
    wake?.();
  });
  try {
    for (;;) {
      const message = received.shift();
      if (message === undefined) {
        if (failure !== undefined) throw failure.error;
        await new Promise<void>((resolve) => (wake = resolve));
      } else if ("packed" in message) return message.packed;
      else if ("failed" in message) throw receiveError(message.failed);
      else {
        onProgress(message.done);
        if (message.piece !== undefined) yield Buffer.from(message.piece);
        worker.postMessage(1, []);
      }
    }
  } finally {
    pacing.stop();
    await worker.terminate();
  }
}

function start(order: PackOrder): { readonly worker: Worker; readonly pacing: Pacing } {
  const pacing = paceByThisThread();
  return { worker: startWorker(import.meta.url, "pack-worker", { ...order, pace: pacing.shared }), pacing };
}

function onEnd(worker: Worker, tell: (error: unknown) => void): void {
  worker.on("error", tell);
  worker.on("exit", () =>
    tell(
      new CairnError("CHECKPOINT_INCOMPLETE", "The thread that packed the archive ended early.", {
        hint: "Nothing was published; the next checkpoint begins anew.",
      }),
    ),
  );
}
