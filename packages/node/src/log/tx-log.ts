import type { CairnError } from "@cairn/kv";
import type { PeerChannel } from "./peer-channel.ts";

/**
 * A message of the log. `position` counts from 1 without holes; `time` is when the log stored it
 * (milliseconds since 1970, by the log's clock, not necessarily rising).
 */
export interface LogMessage {
  readonly position: number;
  readonly time: number;
  /** Of that time, what is less than a millisecond (0 to 999,999), where the log knows it: always then, however the message is read. */
  readonly nanoseconds?: number;
  /** Not to be changed; it may be a view of a larger buffer. */
  readonly payload: Uint8Array;
}

/** What the log holds: positions `first` to `last`. An empty log has `last = first - 1` (1 and 0 when it never held one). */
export interface LogBounds {
  readonly first: number;
  readonly last: number;
}

/** How long a log remembers message ids at least; NATS' default. */
export const MESSAGE_ID_WINDOW_MS = 120_000;

/** How {@link TxLog.read} reads. */
export interface LogReadOptions {
  readonly signal: AbortSignal;
  /** Bounds of one array. Defaults: 5,000 messages, 8 MiB. */
  readonly maxMessages?: number;
  readonly maxBytes?: number;
}

/**
 * An append-only sequence of messages that all nodes read in the same order.
 *
 * Durable: `append` answers after the message would survive what the log promises to survive (embedded: a power
 * loss; NATS: what the stream's replicas survive). Errors common to all methods: `LOG_UNREACHABLE` (worth trying
 * again), and after `close` any call rejects with `LOG_UNREACHABLE`; so do `append`, `bounds`, `fetch` and `read` on a log
 * that does not exist.
 */
export interface TxLog {
  /** The log's name, the same on every node that reads it (a stream's name, an embedded log's folder name). */
  readonly name: string;
  /**
   * Present and true where this process alone can append, so that {@link bounds} includes whatever was acknowledged. Elsewhere they may be
   * those of a server that was cut off from the others.
   */
  readonly hasOneWriter?: boolean;
  /** The largest payload that `append` takes, in bytes. */
  readonly maxPayload: number;
  /**
   * The log id as written beside the log (the stream's description), so that it is known when the birth record was trimmed.
   * Undefined when the log has none or does not exist.
   */
  id(): Promise<string | undefined>;
  /**
   * Makes the log if it does not exist and writes `birthRecord(logId)` as its first message, unless it holds, or ever held,
   * one. Of several nodes that do this at once exactly one message is written; all return after it is there.
   */
  create(birthRecord: (logId: string) => Uint8Array): Promise<void>;
  /**
   * Whether the log exists and ever held a message; false makes {@link create} allowed.
   * Never false because of a fault: a log that cannot be reached throws.
   */
  exists(): Promise<boolean>;
  /**
   * Appends a message. The same `messageId` within the log's memory of ids (2 minutes or more) is stored once: later calls answer the
   * position of the first with `duplicate: true`, whatever their payload. Calls made one after another without waiting are
   * stored in the order of the calls. Errors: `TX_TOO_LARGE`, `LOG_FULL`, `DISK_FULL`, `LOG_UNREACHABLE` (the message may
   * or may not have been stored; repeating with the same id is safe). `payload` must not be changed until it has answered.
   * The caller waits for `timeoutMs` and no longer: a log that tries again by itself need not try a message any more after that.
   */
  append(
    payload: Uint8Array,
    options?: { messageId?: string; timeoutMs?: number },
  ): Promise<{ position: number; duplicate: boolean }>;
  bounds(): Promise<LogBounds>;
  /** The message at `position`, or undefined when the log does not hold it. */
  fetch(position: number): Promise<LogMessage | undefined>;
  /**
   * The messages from `from` on, in order, in arrays (never empty), then those still to come, until aborted. Messages are fetched
   * ahead while the caller works, within bounds. The sequence *ends* when its source was interrupted (reconnect,
   * consumer lost): the caller reads again from where it is, after comparing its anchor. It ends at once when `from` lies more
   * than one beyond the last; it begins later than `from` when the log was trimmed. The caller checks positions.
   */
  read(from: number, options: LogReadOptions): AsyncIterable<readonly LogMessage[]>;
  /**
   * Removes the messages below `upTo` for good; `upTo` itself stays, and so do the positions of all that stay, the log's id and what
   * {@link exists} answers. Fine when they are gone already; `CONFLICT` when the log ends before `upTo`. A log without it cannot
   * be trimmed by Cairn.
   */
  trim?(upTo: number): Promise<void>;
  /**
   * Removes a log that never held more than the birth record of `logId`, so that another one can be begun in its place; what was set of
   * it by hand (a stream's settings) stays. `CONFLICT` when it holds more, or is another by now. A log without it stays as it is.
   */
  removeUnused?(logId: string): Promise<void>;
  /**
   * What somebody should look at about a log that goes on: settings by which it can lose messages (`LOG_UNSAFE`), messages that are
   * missing inside it (`LOG_GAP`); nothing while there is no log. Asked again and again while a node runs, since others can change it.
   * Where its id is `logId` and that is not written beside it any more, it is written again. Errors: `CONFIG_INVALID` when it cannot be a
   * log any more. A log that nobody else can change has none.
   */
  inspect?(logId?: string): Promise<readonly CairnError[]>;
  /** How the nodes that have this log open reach one another. A log that one node has alone, or that cannot tell, has none. */
  readonly peers?: PeerChannel;
  /** Ends what is under way, or waits for it. Twice is fine. */
  close(): Promise<void>;
}
