import type { CairnError } from "@cairn/kv";

/** Sends a response to the node that asked. A request may get any number of responses, or none. */
export type SendAnswer = (answer: Uint8Array) => void;

/**
 * The channel by which nodes with the same log open reach one another. A question goes to all nodes that serve, and their answers arrive in
 * any order. Nothing is stored and delivery is not guaranteed: a node that does not answer may be down, slow or cut off.
 */
export interface PeerChannel {
  /** The address to which questions are sent, which an operator has to permit (NATS: the subject). */
  readonly address: string;
  /**
   * Passes every question to `answer` until the returned function is called. Calls `onRefused` once with `UNAUTHORIZED` if the server does
   * not let this client listen or answer: other nodes then do not see this node, and nothing else changes.
   */
  serve(
    answer: (question: Uint8Array, send: SendAnswer) => void,
    onRefused: (error: CairnError) => void,
  ): () => void;
  /**
   * Yields the answers to a question until `signal` is aborted; ends at once if no node serves. Errors: `LOG_UNREACHABLE`, `UNAUTHORIZED`,
   * `CONFIG_INVALID` (the question would be stored in the log).
   */
  ask(question: Uint8Array, signal: AbortSignal): AsyncIterable<Uint8Array>;
}
