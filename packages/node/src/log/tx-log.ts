import type { CairnError } from "@cairn/kv";
import type { PeerChannel } from "./peer-channel.ts";

/**
 * A message of the log. `position` counts from 1 without holes; `time` is when the log stored it
 * (milliseconds since 1970, by the log's clock, not necessarily rising).
 */
export interface LogMessage {
  readonly position: number;
  readonly time: number;
  /** The part of the time below a millisecond (0 to 999,999). A log that knows it returns it for every message, however it is read. */
  readonly nanoseconds?: number;
  /** Must not be modified; may be a view of a larger buffer. */
  readonly payload: Uint8Array;
}

/** The positions that the log holds. An empty log has `last = first - 1` (1 and 0 when it never held a message). */
export interface LogBounds {
  readonly first: number;
  readonly last: number;
}

/** How long a log remembers message ids at least; NATS' default. */
export const MESSAGE_ID_WINDOW_MS = 120_000;

/** How {@link TxLog.read} reads. */
export interface LogReadOptions {
  readonly signal: AbortSignal;
  /** Bounds of one array; default to 5,000 messages and 8 MiB. */
  readonly maxMessages?: number;
  readonly maxBytes?: number;
}

/**
 * An append-only sequence of messages that all nodes read in the same order.
 *
 * Durability: `append` returns once the message survives what the log promises to survive (embedded: a power loss; NATS: what the stream's
 * replicas survive). Every method may throw `LOG_UNREACHABLE` (worth retrying), and does so after `close`; `append`, `bounds`, `fetch` and
 * `read` also do on a log that does not exist.
 */
export interface TxLog {
  /** The log's name, the same on every node that reads it (a stream's name, an embedded log's folder name). */
  readonly name: string;
  /**
   * True when only this process can append, so that {@link bounds} includes everything acknowledged. The bounds of a shared log may come from a
   * server that is cut off from the others.
   */
  readonly hasOneWriter?: boolean;
  /** The largest payload that `append` accepts, in bytes. */
  readonly maxPayload: number;
  /**
   * The log id as stored with the log (the stream's description), known even when the birth record was trimmed. Undefined when there is none or
   * the log does not exist.
   */
  id(): Promise<string | undefined>;
  /**
   * Creates the log if it does not exist and writes `birthRecord(logId)` as its first message, unless it holds, or ever held, one. When several
   * nodes do this at once, exactly one message is written; all return after it is stored.
   */
  create(birthRecord: (logId: string) => Uint8Array): Promise<void>;
  /**
   * Whether the log exists and ever held a message; false permits {@link create}. Never false because of a fault: a log that cannot be reached
   * throws.
   */
  exists(): Promise<boolean>;
  /**
   * Appends a message. Within {@link MESSAGE_ID_WINDOW_MS} or longer, the same `messageId` is stored once: later calls return the position of
   * the first with `duplicate: true`, whatever their payload. Concurrent calls are stored in their order. Errors: `TX_TOO_LARGE`, `LOG_FULL`,
   * `DISK_FULL`, `LOG_UNREACHABLE` (the message may or may not be stored; repeating with the same id is safe). `payload` must not be modified
   * until the call returns. The caller waits no longer than `timeoutMs`, after which a log that retries may give the message up.
   */
  append(
    payload: Uint8Array,
    options?: { messageId?: string; timeoutMs?: number },
  ): Promise<{ position: number; duplicate: boolean }>;
  bounds(): Promise<LogBounds>;
  /** The message at `position`; undefined when the log does not hold it. */
  fetch(position: number): Promise<LogMessage | undefined>;
  /**
   * Yields the messages from `from` on, in order, in arrays (never empty), and then new ones as they arrive, until aborted. Reads ahead, within
   * bounds, while the caller works. The sequence *ends* when its source is interrupted (reconnect, consumer lost): the caller compares its
   * anchor and reads again. It ends at once when `from` is more than one beyond the last position; it begins later than `from` when the log was
   * trimmed. The caller checks positions.
   */
  read(from: number, options: LogReadOptions): AsyncIterable<readonly LogMessage[]>;
  /**
   * Permanently removes the messages below `upTo`; all others keep their positions, and the log keeps its id and still {@link exists}.
   * Idempotent; throws `CONFLICT` when the log ends before `upTo`. Absent when Cairn cannot trim the log.
   */
  trim?(upTo: number): Promise<void>;
  /**
   * Removes a log that never held more than the birth record of `logId`, so that another can be created in its place; settings made by hand (of
   * a stream) remain. Throws `CONFLICT` when it holds more, or is another log by now. Absent when Cairn cannot remove the log.
   */
  removeUnused?(logId: string): Promise<void>;
  /**
   * Returns warnings about a working log: settings by which it can lose messages (`LOG_UNSAFE`), messages missing inside it (`LOG_GAP`); none
   * while there is no log. Called periodically while a node runs, since other clients can change the log. Restores the log id `logId` in the
   * stream's description if it is missing there. Throws `CONFIG_INVALID` when it can no longer be a log. Absent when no other client can change
   * the log.
   */
  inspect?(logId?: string): Promise<readonly CairnError[]>;
  /** How nodes with this log open reach one another; absent for a log of a single node. */
  readonly peers?: PeerChannel;
  /** Ends or awaits operations in progress. Idempotent. */
  close(): Promise<void>;
}
