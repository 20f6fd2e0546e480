import type { CairnError } from "@cairn/kv";

/** Sends a response to the requesting node. There may be any number of responses to a request, or none. */
export type SendAnswer = (answer: Uint8Array) => void;

/**
 * How nodes that have the same log open communicate: a request goes to all serving nodes, and their responses arrive in
 * any order. Nothing is stored, and delivery is not guaranteed.
 */
export interface PeerChannel {
  /** The address to which requests are sent (on NATS, the subject). An operator must permit its use. */
  readonly address: string;
  /** The size of the largest response that is delivered. By default, any is. */
  readonly maxAnswerBytes?: number | undefined;
  /**
   * Passes every request to `answer` until the returned function is called. Calls `onRefused` once with `UNAUTHORIZED`
   * if the server does not permit this client to listen or to respond; nothing else is affected.
   */
  serve(
    answer: (question: Uint8Array, send: SendAnswer) => void,
    onRefused: (error: CairnError) => void,
  ): () => void;
  /**
   * Yields the responses to a request until `signal` is aborted. Ends immediately if no node serves requests. Throws
   * `LOG_UNREACHABLE` (also if the request could not be sent before), `UNAUTHORIZED`, or, if the request would be stored
   * in the log, `CONFIG_INVALID`.
   */
  ask(question: Uint8Array, signal: AbortSignal): AsyncIterable<Uint8Array>;
}
