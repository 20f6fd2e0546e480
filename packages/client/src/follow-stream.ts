import type { ClientTransaction, ClientWatchQuery } from "./types/client-types.ts";
import type { Position } from "./types/transaction.ts";

/** The duration of silence after which a connection counts as dead. Nodes send heartbeats every 10 s. */
export const SILENCE_MS = 35_000;

export interface WatchedNodes {
  /**
   * Opens the current node's stream from this position, and returns its text. The position is undefined at the first
   * node of a watch from the current transaction.
   */
  open(from: Position | undefined): Promise<AsyncIterable<string>>;
  /**
   * Called when the current node's stream has ended or could not be opened. `failures` is the number of such failures
   * since anything last arrived. Resolves when the next node may be tried. Throws if no node can continue.
   */
  onEnd(reason: unknown, failures: number, from: Position | undefined): Promise<void>;
}

/**
 * The error that is thrown if a node has ended the watch cleanly. `regressed` means that the log lost transactions that
 * had been sent, so no node can continue.
 */
export class WatchEndedError extends Error {
  readonly regressed: boolean;

  constructor(message = "The node ended the watch.", reason?: string) {
    super(message);
    this.name = "WatchEndedError";
    this.regressed = reason === "regressed";
  }
}

/** The fields of every event. A batch of states has no position until everything was sent. */
interface EventFields {
  readonly position?: Position;
  readonly ahead?: boolean;
  readonly reason?: string;
  readonly message?: string;
}

/** An event, parsed, and its JSON as it was received. */
export interface FollowedEvent {
  readonly event: string;
  readonly fields: EventFields;
  readonly json: string;
}

/**
 * Yields the events of a stream. When one node's stream ends, the next node continues from exactly that position. Ends
 * when the signal is aborted.
 */
export async function* followEvents(
  nodes: WatchedNodes,
  { from: begin, signal }: Pick<ClientWatchQuery, "from" | "signal">,
): AsyncGenerator<FollowedEvent, void, void> {
  let from = begin;
  for (let failures = 0; !isAborted(signal);) {
    try {
      for await (const { event, data } of readEventStream(await nodes.open(from))) {
        const fields = JSON.parse(data) as EventFields;
        if (event === "cutoff") throw new WatchEndedError(fields.message, fields.reason);
        // Until the node has something to send, it sends its own position, which may be behind this one.
        if (fields.ahead === true) continue;
        failures = 0;
        from = fields.position;
        yield { event, fields, json: data };
      }
      throw new WatchEndedError();
    } catch (error) {
      if (isAborted(signal)) return;
      failures += 1;
      await nodes.onEnd(error, failures, from);
    }
  }
}

/** A transaction, and its JSON as it was received. */
export interface FollowedTransaction<T> {
  readonly transaction: ClientTransaction<T>;
  readonly json: string;
}

/** Yields every transaction of a watch, once and in log order; see {@link followEvents}. */
export async function* followStream<T>(
  nodes: WatchedNodes,
  { onPosition, ...options }: Pick<ClientWatchQuery, "from" | "signal" | "onPosition">,
): AsyncGenerator<FollowedTransaction<T>, void, void> {
  for await (const { event, fields, json } of followEvents(nodes, options)) {
    const transaction = fields as ClientTransaction<T>;
    if (event === "tx") yield { transaction, json };
    onPosition?.(transaction.position, transaction.txId);
  }
}

function isAborted(signal: AbortSignal | undefined): boolean {
  return signal?.aborted === true;
}

export interface SentEvent {
  readonly event: string;
  readonly data: string;
}

/** The chunks may be split anywhere. An incomplete event at the end of the stream is dropped. */
export async function* readEventStream(text: AsyncIterable<string>): AsyncGenerator<SentEvent, void> {
  // The chunks of the unfinished event. There may be many, so they are joined only once it is complete.
  let parts: string[] = [];
  for await (const chunk of text) {
    // The empty line that ends an event may itself be split.
    const isSplit = parts.at(-1)?.endsWith("\n") === true && chunk.startsWith("\n");
    if (!isSplit && !chunk.includes("\n\n")) {
      parts.push(chunk);
      continue;
    }
    const blocks = (parts.join("") + chunk).split("\n\n");
    parts = [blocks.pop() ?? ""];
    for (const block of blocks) {
      const event = parseEvent(block);
      if (event !== undefined) yield event;
    }
  }
}

/** Returns the event in a block; undefined if the block has no data, for example if it is a comment. */
function parseEvent(block: string): SentEvent | undefined {
  let event = "message";
  const data: string[] = [];
  for (const line of block.split("\n")) {
    const colon = line.indexOf(":");
    if (colon <= 0) continue;
    const value = line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    if (line.startsWith("event:")) event = value;
    else if (line.startsWith("data:")) data.push(value);
  }
  return data.length === 0 ? undefined : { event, data: data.join("\n") };
}
