import { Readable } from "node:stream";

/** What came of a body, also after it broke: kept as it came, since copying it together costs more than all else. */
export interface Filling {
  /** How many bytes there may be. */
  readonly room: number;
  readonly chunks: Buffer[];
  filled: number;
}

/** Room for a body of at most so many bytes. */
export function emptyFilling(room: number): Filling {
  return { room, chunks: [], filled: 0 };
}

/** A body that holds other bytes than it should; never the network's doing. */
export class BodyMismatch extends Error {}

/**
 * Takes all of a body into memory. Throws what broke it, or the signal's reason; silence for `idleMs` breaks it too. Of more bytes
 * than there is room for it is {@link BodyMismatch}.
 */
export async function fillFrom(
  body: unknown,
  filling: Filling,
  { idleMs, signal }: { readonly idleMs: number; readonly signal: AbortSignal | undefined },
): Promise<void> {
  const stream = readable(body);
  const onAbort = (): void => void stream.destroy(reasonOf(signal));
  const timer = setTimeout(() => {
    const error = Object.assign(new Error(`Nothing came for ${idleMs} ms.`), { code: "ETIMEDOUT" });
    stream.destroy(error);
  }, idleMs);
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    signal?.throwIfAborted();
    await new Promise<void>((resolve, reject) => {
      stream.on("data", (chunk: Buffer) => {
        timer.refresh();
        if (filling.filled + chunk.length > filling.room) {
          stream.destroy(new BodyMismatch("The body is longer than it should be."));
          return;
        }
        filling.chunks.push(chunk);
        filling.filled += chunk.length;
      });
      stream.on("end", resolve);
      stream.on("error", reject);
      // Torn off without a word, some streams only close.
      stream.on("close", () =>
        reject(Object.assign(new Error("The connection closed early."), { code: "ECONNRESET" })),
      );
    });
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", onAbort);
    stream.destroy();
  }
}

/** Lets go of a body that nobody wants. */
export function dropBody(body: unknown): void {
  const stream = readable(body);
  stream.on("error", () => undefined);
  stream.destroy();
}

function readable(body: unknown): Readable {
  if (body instanceof Readable) return body;
  throw new TypeError("The body of an answer is no stream of Node.");
}

function reasonOf(signal: AbortSignal | undefined): Error {
  const reason: unknown = signal?.reason;
  return reason instanceof Error ? reason : new Error(String(reason));
}
