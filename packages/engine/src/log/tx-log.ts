import type { CheckpointStore } from "@cairn/checkpoint";
import type { CairnError } from "@cairn/kv";
import type { AppendPlace } from "./append-sequence.ts";
import type { PeerChannel } from "./peer-channel.ts";

/**
 * A message of the log. `position` counts from 1 without holes. `time` is when the log stored the message, in
 * milliseconds since 1970 by the log's clock; it does not necessarily increase from one message to the next.
 */
export interface LogMessage {
  readonly position: number;
  readonly time: number;
  /** The part of `time` below a millisecond (0 to 999,999 ns); present on every message or none, however it is read. */
  readonly nanoseconds?: number;
  /** The content. It must not be modified, and may be a view of a larger buffer. */
  readonly payload: Uint8Array;
}

/** The positions that the log holds. In an empty log, `last` is `first - 1` (1 and 0 if it never held a message). */
export interface LogBounds {
  readonly first: number;
  readonly last: number;
  /** When the message at `last` was stored (ms since 1970), if it was removed and the log still knows. */
  readonly lastTime?: number;
}

/** The result of an append: the position of the message, and whether a message with its id had already been stored. */
export interface Appended {
  readonly position: number;
  readonly duplicate: boolean;
}

/** The minimum time for which a log remembers message ids. This is the NATS default. */
export const MESSAGE_ID_WINDOW_MS = 120_000;

/** The backup from which a log is read if the log itself is inaccessible. */
export interface LogBackupSource {
  readonly location: string;
  /** When the newest segment was written, by the store's clock (milliseconds since 1970); undefined while unknown. */
  readonly newestAt: number | undefined;
  /** The store itself, for commands. */
  readonly store: CheckpointStore;
}

/** How to read a log; aborting the signal ends the reading. */
export interface LogReadOptions {
  readonly signal: AbortSignal;
  /** The bounds of one array. They default to 5,000 messages, and 2 MiB (NATS) or 8 MiB (other logs). */
  readonly maxMessages?: number | undefined;
  readonly maxBytes?: number | undefined;
}

export interface AppendOptions {
  readonly messageId?: string | undefined;
  readonly timeoutMs?: number;
  readonly place?: AppendPlace | undefined;
}

/**
 * An append-only sequence of messages that all nodes read in the same order.
 *
 * Durability: `append` returns once the message will survive the failures that the log promises to survive (a power
 * loss for the embedded log; the failures that the stream's replicas survive for NATS). Every method may throw
 * `LOG_UNREACHABLE`, after which a retry may succeed, and always throws it after `close`. `append`, `bounds`, `fetch`
 * and `read` also throw it if the log does not exist.
 */
export interface TxLog {
  /** The name of the stream or of the embedded log's folder; the same on every node that reads the log. */
  readonly name: string;
  /** Where the log is, as shown in /status: its folder, its servers' addresses without credentials, or its backup. */
  readonly location?: string;
  /**
   * True if only this process can append. In that case, {@link bounds} includes everything that was acknowledged. The
   * bounds of a shared log, by contrast, may come from a server that is cut off from the others.
   */
  readonly hasOneWriter?: boolean;
  /** The largest payload that `append` accepts, in bytes. */
  readonly maxPayload: number;
  /**
   * Returns the log id that is stored with the log (in the stream's description) and remains known if the birth record
   * is trimmed. Undefined if there is none or the log does not exist.
   */
  id(): Promise<string | undefined>;
  /**
   * Creates the log if necessary and writes `birthRecord(logId)` as its first message, unless it ever held a message.
   * Of concurrent calls by several nodes, one writes, and all return after the message has been stored.
   */
  create(birthRecord: (logId: string) => Uint8Array): Promise<void>;
  /**
   * Returns whether the log exists and has ever held a message. If it returns false, {@link create} may be called. It
   * never returns false because of a fault; if the log is unreachable, it throws.
   */
  exists(): Promise<boolean>;
  /**
   * Appends a message. While the log is open, only one message with the same `messageId` is stored, for at least
   * {@link MESSAGE_ID_WINDOW_MS}: later calls return the position of the first one with `duplicate: true`, regardless of
   * their payload. (A log may forget ids when it is closed, because an index applies an id only once.) Messages are stored in the order of the calls, even if the calls are concurrent. Throws `TX_TOO_LARGE`, `LOG_FULL`, `DISK_FULL`
   * or `LOG_UNREACHABLE` (the message may or may not be stored, and it is safe to retry with the same id). `payload`
   * must not be modified until the promise settles. The caller waits no longer than `timeoutMs`; after that, a log that
   * retries may abandon the message. With a `place`, nothing is sent behind an earlier message of the same sequence that
   * was rejected.
   */
  append(payload: Uint8Array, options?: AppendOptions): Promise<Appended>;
  bounds(): Promise<LogBounds>;
  /** Returns the message at `position`; undefined if the log does not hold it. */
  fetch(position: number): Promise<LogMessage | undefined>;
  /**
   * Yields the messages starting with `from`, in order, in arrays that are never empty, and then new messages as they
   * arrive, until `signal` is aborted. It prefetches, within bounds, while the caller works. The sequence *ends* when
   * its source is interrupted (by a reconnection or the loss of a consumer). The caller then compares its anchor and
   * reads again. The sequence ends immediately if `from` is more than one beyond the last position, and begins later
   * than `from` if the log was trimmed. The caller must check the positions.
   */
  read(from: number, options: LogReadOptions): AsyncIterable<readonly LogMessage[]>;
  /**
   * Returns the SHA-256 of the anchor of the message before `position`, the first one of {@link bounds}, if the log knows
   * it although it no longer holds that message. Absent if it knows none.
   */
  before?(position: number): Promise<string | undefined>;
  /**
   * Calls `listener` whenever the connection is restored, until the returned function is called. Absent without one.
   */
  onRestored?(listener: () => void): () => void;
  /**
   * Calls `listener` with each array of messages that the log has begun to store, until the returned function is
   * called. If they are stored, {@link read} yields the same objects later, unless the reader is too far behind. If not,
   * other messages may get their positions. Absent if the log does not know the positions of messages in advance.
   */
  onStoring?(listener: (messages: readonly LogMessage[]) => void): () => void;
  /**
   * Permanently removes the messages below `upTo`; idempotent. The others keep their positions, and the log keeps its
   * id and still {@link exists}. Throws `CONFLICT` if the log ends before `upTo`. Absent if Cairn cannot trim the log.
   */
  trim?(upTo: number): Promise<void>;
  /**
   * Removes a log that has never held anything but the birth record of `logId`, so that another log can be created in
   * its place. The settings of a stream, which an operator may have changed, remain. Throws `CONFLICT` if the log holds
   * more, or has been replaced with another log. Absent if Cairn cannot remove the log.
   */
  removeUnused?(logId: string): Promise<void>;
  /**
   * Returns warnings about a working log: settings with which it can lose messages (`LOG_UNSAFE`), and messages that
   * are missing inside it (`LOG_GAP`). Returns none while there is no log. Called periodically while a node runs,
   * because other clients can change the log. Restores the log id `logId` in the stream's description if it is missing
   * there. Throws `CONFIG_INVALID` if the stream can no longer be a log. Absent if nothing else can change the log.
   */
  inspect?(logId?: string): Promise<readonly CairnError[]>;
  /**
   * Returns a string that changes when missing messages are restored, but not when messages are appended. A node that
   * could not join compares this string and retries when it changes. Absent if messages cannot be restored.
   */
  contents?(): Promise<string>;
  /**
   * Present if this log is a backup. In that case, `append` always throws `LOG_READ_ONLY`, and the log ends where the
   * backup ends, so {@link bounds} does not show which messages were acknowledged.
   */
  readonly backup?: LogBackupSource;
  /** The channel through which nodes that have this log open communicate. Absent for a log with a single node. */
  readonly peers?: PeerChannel;
  /** Closes the log. Operations in progress are ended or awaited. The operation is idempotent. */
  close(): Promise<void>;
}
