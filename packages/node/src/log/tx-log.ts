import type { CheckpointStore } from "@cairn/checkpoint";
import type { CairnError } from "@cairn/kv";
import type { PeerChannel } from "./peer-channel.ts";

/**
 * A message of the log. `position` counts from 1 without holes; `time` is when the log stored the message (milliseconds
 * since 1970, by the log's clock, not necessarily increasing).
 */
export interface LogMessage {
  readonly position: number;
  readonly time: number;
  /**
   * The part of `time` below a millisecond (0 to 999,999). A log that knows it returns it for every message, however the message is read.
   */
  readonly nanoseconds?: number;
  /** The content, which must not be modified; it may be a view of a larger buffer. */
  readonly payload: Uint8Array;
}

/** The positions that the log holds. An empty log has `last = first - 1` (1 and 0 if it never held a message). */
export interface LogBounds {
  readonly first: number;
  readonly last: number;
}

/** The minimum time for which a log remembers message ids; the default of NATS. */
export const MESSAGE_ID_WINDOW_MS = 120_000;

/** The backup from which a log is read if the log itself is inaccessible. */
export interface LogBackupSource {
  /** The location of the backup's store. */
  readonly location: string;
  /** When the newest segment was written, by the store's clock (milliseconds since 1970); undefined while unknown. */
  readonly newestAt: number | undefined;
  /** The store itself, for commands. */
  readonly store: CheckpointStore;
}

/** Options for {@link TxLog.read}. */
export interface LogReadOptions {
  readonly signal: AbortSignal;
  /** The bounds of one array; default to 5,000 messages and 8 MiB. */
  readonly maxMessages?: number;
  readonly maxBytes?: number;
}

/**
 * An append-only sequence of messages that all nodes read in the same order.
 *
 * Durability: `append` returns once the message will survive the failures that the log promises to survive (embedded: a
 * power loss; NATS: those that the stream's replicas survive). Every method may throw `LOG_UNREACHABLE` (worth
 * retrying), and does so after `close`; `append`, `bounds`, `fetch` and `read` also throw it on a log that does not
 * exist.
 */
export interface TxLog {
  /** The log's name, the same on every node that reads it (a stream's name, an embedded log's folder name). */
  readonly name: string;
  /**
   * The location of the log, for messages and /status: the addresses of its servers, or its folder, without
   * credentials. Optional.
   */
  readonly location?: string;
  /**
   * True if only this process can append. {@link bounds} then includes everything acknowledged. The bounds of a shared
   * log may come from a server that is cut off from the others.
   */
  readonly hasOneWriter?: boolean;
  /** The largest payload that `append` accepts, in bytes. */
  readonly maxPayload: number;
  /**
   * Returns the log id as stored with the log (in the stream's description), known even if the birth record was trimmed. Undefined if there
   * is none or the log does not exist.
   */
  id(): Promise<string | undefined>;
  /**
   * Creates the log if it does not exist and writes `birthRecord(logId)` as its first message, unless the log holds, or ever held, a
   * message. If several nodes do this at once, exactly one message is written; all return after it is stored.
   */
  create(birthRecord: (logId: string) => Uint8Array): Promise<void>;
  /**
   * Returns whether the log exists and ever held a message; false permits {@link create}. Never returns false because
   * of a fault: an unreachable log throws.
   */
  exists(): Promise<boolean>;
  /**
   * Appends a message. Within {@link MESSAGE_ID_WINDOW_MS} or longer, the same `messageId` is stored once: later calls
   * return the position of the first with `duplicate: true`, whatever their payload. Concurrent calls are stored in
   * their order. Throws `TX_TOO_LARGE`, `LOG_FULL`, `DISK_FULL` or `LOG_UNREACHABLE` (the message may or may not be
   * stored; retrying with the same id is safe). `payload` must not be modified until the call returns. The caller waits
   * no longer than `timeoutMs`, after which a log that retries may give up on the message.
   */
  append(
    payload: Uint8Array,
    options?: { messageId?: string; timeoutMs?: number },
  ): Promise<{ position: number; duplicate: boolean }>;
  bounds(): Promise<LogBounds>;
  /** Returns the message at `position`; undefined if the log does not hold it. */
  fetch(position: number): Promise<LogMessage | undefined>;
  /**
   * Yields the messages starting with `from`, in order, in arrays (never empty), and then new ones as they arrive,
   * until aborted. Prefetches, within bounds, while the caller works. The sequence *ends* when its source is
   * interrupted (reconnect, consumer lost): the caller compares its anchor and reads again. The sequence ends at once
   * if `from` is more than one beyond the last position; it begins later than `from` if the log was trimmed. The caller
   * checks positions.
   */
  read(from: number, options: LogReadOptions): AsyncIterable<readonly LogMessage[]>;
  /**
   * Permanently removes the messages below `upTo`; all others keep their positions, and the log keeps its id and still {@link exists}.
   * Idempotent; throws `CONFLICT` if the log ends before `upTo`. Absent if Cairn cannot trim the log.
   */
  trim?(upTo: number): Promise<void>;
  /**
   * Removes a log that never held more than the birth record of `logId`, so that another can be created in its place;
   * settings made by hand (of a stream) remain. Throws `CONFLICT` if the log holds more, or has become another log.
   * Absent if Cairn cannot remove the log.
   */
  removeUnused?(logId: string): Promise<void>;
  /**
   * Returns warnings about a working log: settings with which it can lose messages (`LOG_UNSAFE`), messages missing inside it (`LOG_GAP`);
   * none while there is no log. Called periodically while a node runs, since other clients can change the log. Restores the log id `logId`
   * in the stream's description if it is missing there. Throws `CONFIG_INVALID` if the stream can no longer be a log. Absent if no other
   * client can change the log.
   */
  inspect?(logId?: string): Promise<readonly CairnError[]>;
  /**
   * Returns a string that changes when the readable content changes other than by appending, that is, when missing
   * messages are restored. A node that could not join compares it in order to retry when that may succeed. Absent if
   * messages cannot be restored.
   */
  contents?(): Promise<string>;
  /**
   * Present if this log is a backup: `append` always throws `LOG_READ_ONLY`, and the log ends where the backup does, so
   * {@link bounds} does not show which messages were acknowledged.
   */
  readonly backup?: LogBackupSource;
  /** The channel through which nodes that have this log open communicate; absent for a log of a single node. */
  readonly peers?: PeerChannel;
  /** Ends or awaits operations in progress. Idempotent. */
  close(): Promise<void>;
}
