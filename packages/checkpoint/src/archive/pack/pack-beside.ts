import { CairnError } from "@cairn/kv";
import { receiveError, startThreadPair } from "@cairn/kv/threads";
import type { ThreadPair } from "@cairn/kv/threads";
import type { ArchiveOrder, PackedArchive, Writing } from "./archive-pieces.ts";
import { paceByThisThread } from "./pace-by-this-thread.ts";
import type { PackMessage, PackOrder, PackRequest } from "./pack-worker.ts";
import { unlessAborted } from "../../timing/unless-aborted.ts";
import type { PackedFiles } from "./tar-pieces.ts";

/** On their way to this thread, of at most 4 MiB each. */
const PIECES = 3;

/** Makes an archive on other threads and writes it there, too; while this one is busy, at that speed. Nothing writes to `file` any more after the end. */
export async function writeBeside(
  order: ArchiveOrder,
  file: number,
  { explain, signal, hurry, onProgress }: Writing,
  bytesPerSecond: number,
): Promise<PackedArchive> {
  signal?.throwIfAborted();
  const pacing = paceByThisThread(bytesPerSecond, hurry);
  const threads = start({ ...order, file, pieces: 0, pace: pacing.shared });
  try {
    for (;;) {
      const message = await unlessAborted(threads.sent.take(), signal);
      if ("packed" in message) return message.packed;
      if ("done" in message) onProgress(message.done);
      else {
        const error = receiveError(message.failed);
        throw message.writing ? explain(error) : error;
      }
    }
  } finally {
    pacing.stop();
    await threads.terminate();
  }
}

/** Makes an archive on other threads and yields it in pieces that are the receiver's own. */
export async function* archiveBeside(
  order: ArchiveOrder,
  onProgress: (bytes: number) => void,
): AsyncGenerator<Buffer, PackedArchive, undefined> {
  // Without giving way: what this thread is busy with is sending these very pieces, which would slow themselves down to half.
  const threads = start({ ...order, pieces: PIECES });
  const { worker, sent } = threads;
  try {
    for (;;) {
      const message = await sent.take();
      if ("packed" in message) return message.packed;
      if ("failed" in message) throw receiveError(message.failed);
      onProgress(message.done);
      if (message.piece !== undefined) yield Buffer.from(message.piece);
      worker.postMessage("one more" satisfies PackRequest, []);
    }
  } finally {
    await threads.terminate();
  }
}

/** One thread reads and one packs what it read, so that both digests are computed at once. */
function start(order: PackOrder): ThreadPair<PackMessage> {
  const { dir, names, tables, pace } = order;
  const reading: PackedFiles = { dir, names, tables, ...(pace === undefined ? {} : { pace }) };
  return startThreadPair(
    import.meta.url,
    { name: "pack-worker", order },
    { name: "read-worker", order: reading },
    endedEarly,
  );
}

function endedEarly(): CairnError {
  return new CairnError("CHECKPOINT_INCOMPLETE", "A thread that packed the archive ended early.", {
    hint: "Nothing was published; the next checkpoint begins anew.",
  });
}
