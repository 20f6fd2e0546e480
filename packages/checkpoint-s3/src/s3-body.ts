import { Readable } from "node:stream";

export interface PartialBody {
  readonly room: number;
  readonly onChunk: (chunk: Buffer) => void;
  filled: number;
}

/** The error for a body with unexpected content, which is never caused by the network. */
export class BodyMismatch extends Error {}

/**
 * Receives a whole body. Throws the error that interrupted it, or the signal's reason; silence for `idleMs` counts as
 * an error. Throws {@link BodyMismatch} if there are more bytes than room.
 */
export async function receiveBody(
  body: unknown,
  received: PartialBody,
  { idleMs, signal }: { readonly idleMs: number; readonly signal: AbortSignal | undefined },
): Promise<void> {
  const stream = readable(body);
  const onAbort = (): void => void stream.destroy(reasonOf(signal));
  const timer = setTimeout(() => {
    const error = Object.assign(new Error(`Nothing was received for ${idleMs} ms.`), { code: "ETIMEDOUT" });
    stream.destroy(error);
  }, idleMs);
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    signal?.throwIfAborted();
    await new Promise<void>((resolve, reject) => {
      stream.on("data", (chunk: Buffer) => {
        timer.refresh();
        if (received.filled + chunk.length > received.room) {
          stream.destroy(new BodyMismatch("The body is longer than it should be."));
          return;
        }
        received.filled += chunk.length;
        received.onChunk(chunk);
      });
      stream.on("end", resolve);
      stream.on("error", reject);
      // When the connection is lost, some streams merely close.
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

export function dropBody(body: unknown): void {
  const stream = readable(body);
  stream.on("error", () => undefined);
  stream.destroy();
}

function readable(body: unknown): Readable {
  if (body instanceof Readable) return body;
  throw new TypeError("The body of a response is not a Node.js stream.");
}

function reasonOf(signal: AbortSignal | undefined): Error {
  const reason: unknown = signal?.reason;
  return reason instanceof Error ? reason : new Error(String(reason));
}
