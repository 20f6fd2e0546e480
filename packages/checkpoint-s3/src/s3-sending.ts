import { Readable } from "node:stream";
import type { S3 } from "@aws-sdk/client-s3";
import { MAX_TIMER_MS, systemErrorCode } from "@cairn/kv";
import { fieldOf } from "./s3-errors.ts";
import type { S3Settings } from "./s3-options.ts";

type Handler = S3["config"]["requestHandler"];

/** An option of a call of the SDK, which passes it on to the handler. */
export interface SendingOptions {
  /** Called for each attempt, as the network takes the body, with the number of bytes handed over so far. */
  readonly onSent?: ((bytes: number) => void) | undefined;
}

const MIB = 1024 * 1024;
/** Larger bodies are handed over in pieces of this size, which show the progress; a few are always ready. */
const PIECE_BYTES = 256 * 1024;
const READY_PIECES = 4;

/**
 * Returns how long a connection on which a large body is sent may be idle: the time limit of other requests, and as
 * long again for each MiB of a part. The buffers of the kernel and of proxies take megabytes at once, and then nothing
 * shows that they are emptied, so a slow connection appears idle.
 */
export function sendingTimeout({ requestTimeout, partSize }: S3Settings): number {
  return Math.min(MAX_TIMER_MS, requestTimeout * (1 + Math.ceil(partSize / MIB)));
}

/**
 * Returns a handler that sends requests with large bodies with `patient`, and all others with `handler`. Calls `onIdle`
 * after each attempt to send one that ended because the connection was idle: the SDK repeats it without a word.
 */
export function sendingHandler(handler: Handler, patient: Handler, onIdle: () => void): Handler {
  return {
    ...(handler.metadata === undefined ? {} : { metadata: handler.metadata }),
    async handle(request, options: Parameters<Handler["handle"]>[1] & SendingOptions = {}) {
      const body: unknown = request.body;
      if (!(body instanceof Uint8Array) || body.length <= PIECE_BYTES)
        return await handler.handle(request, options);
      // The SDK needs the body for the next attempt.
      const attempt = request.clone();
      attempt.body = inPieces(body, options.onSent);
      try {
        return await patient.handle(attempt, options);
      } catch (error) {
        // Errors of the system, which the SDK gives the same name, have a code.
        if (fieldOf(error, "name") === "TimeoutError" && systemErrorCode(error) === undefined) onIdle();
        throw error;
      }
    },
    destroy() {
      handler.destroy?.();
      patient.destroy?.();
    },
  };
}

function inPieces(body: Uint8Array, onSent: SendingOptions["onSent"]): Readable {
  let at = 0;
  return new Readable({
    // With one at a time, the connection waits for each, and an upload takes a tenth longer.
    highWaterMark: READY_PIECES * PIECE_BYTES,
    read() {
      onSent?.(at);
      this.push(at < body.length ? body.subarray(at, (at += PIECE_BYTES)) : null);
    },
  });
}
