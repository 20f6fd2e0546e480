import type { CairnError } from "@cairn/kv";

/** Sends a response to the requesting node. A request may get any number of responses, or none. */
export type SendAnswer = (answer: Uint8Array) => void;

/**
 * The channel through which nodes that have the same log open communicate. A question is sent to all serving nodes, and
 * their answers arrive in any order. Nothing is stored and delivery is not guaranteed: a node that does not answer may
 * be down, slow or cut off.
 */
export interface PeerChannel {
  /** The address to which questions are sent (on NATS, the subject). An operator must permit its use. */
  readonly address: string;
  /**
   * Passes every question to `answer` until the returned function is called. Calls `onRefused` once with `UNAUTHORIZED`
   * if the server does not permit this client to listen or answer. Other nodes then do not see this node, but nothing
   * else is affected.
   */
  serve(
    answer: (question: Uint8Array, send: SendAnswer) => void,
    onRefused: (error: CairnError) => void,
  ): () => void;
  /**
   * Yields the answers to a question until `signal` is aborted; ends immediately if no node serves. Throws
   * `LOG_UNREACHABLE`, `UNAUTHORIZED`, or `CONFIG_INVALID` (the question would be stored in the log).
   */
  ask(question: Uint8Array, signal: AbortSignal): AsyncIterable<Uint8Array>;
}
