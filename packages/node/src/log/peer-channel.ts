import type { CairnError } from "@cairn/kv";

/** Sends one answer to whoever asked. More than one may be sent for a question; none is fine. */
export type SendAnswer = (answer: Uint8Array) => void;

/**
 * How those who have the same log open reach one another. A question goes to all who serve, answers come from each of them in any
 * order; nothing is stored, and nothing is promised: who does not answer may be down, slow or cut off.
 */
export interface PeerChannel {
  /** Where questions go, as an operator has to allow it (NATS: the subject). */
  readonly address: string;
  /**
   * Hands every question to `answer` until the result is called. `onRefused` is told, once, that the server does not let this
   * client listen or answer (`UNAUTHORIZED`): then others do not see it, and everything else goes on.
   */
  serve(
    answer: (question: Uint8Array, send: SendAnswer) => void,
    onRefused: (error: CairnError) => void,
  ): () => void;
  /**
   * The answers to a question, until `signal` is aborted; ends at once when nobody serves. Errors: `LOG_UNREACHABLE`,
   * `UNAUTHORIZED`, `CONFIG_INVALID` (the question would be stored in the log).
   */
  ask(question: Uint8Array, signal: AbortSignal): AsyncIterable<Uint8Array>;
}
