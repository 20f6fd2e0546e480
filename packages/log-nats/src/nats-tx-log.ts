import { CairnError, isCairnError } from "@cairn/kv";
import type { JetStreamManager } from "nats";
import { type NatsConnectionOptions, NatsLink } from "./nats-connection.ts";
import { NatsPeers } from "./nats-peers.ts";
import { NatsPublisher } from "./nats-publisher.ts";
import { DEFAULT_MAX_BYTES, DEFAULT_PULL_TIMING, NatsReader, type PullTiming } from "./nats-reader.ts";
import { NatsStream, type StreamTarget, targetOf } from "./nats-stream.ts";
import { notTaken, overMaxPayload, smallMaxPayload } from "./nats-stream-error.ts";
import { inactiveLimit, SMALL_MESSAGE, takesMessages } from "./nats-stream-settings.ts";
import type { Appended, AppendOptions, LogMessage, LogReadOptions, TxLog } from "@cairn/engine";

export interface NatsTxLogOptions extends NatsConnectionOptions {
  /** The name of the stream, which is also the log's name. Defaults to `cairn`. */
  readonly stream?: string;
  /** The JetStream domain of the stream. Defaults to the domain of the connected server. */
  readonly domain?: string;
  /** The number of replicas of a stream that `create` creates. Defaults to 1. */
  readonly replicas?: number;
  /** If false, `create` must not create the stream. Defaults to true. */
  readonly createStream?: boolean;
  /** The maximum number of messages in flight. Additional messages are queued. Defaults to 2,000. */
  readonly maxInflight?: number;
  /**
   * The maximum time for which an append is retried before it rejects with `LOG_UNREACHABLE` (ms). Defaults to 29,000.
   */
  readonly appendDeadlineMs?: number;
  /** The timing that determines how soon a reader notices a silent server. */
  readonly pullTiming?: Partial<PullTiming>;
}

/** The part of the server's size limit that is reserved for a message's headers. */
const HEADER_RESERVE_BYTES = 1_024;
const MIN_PULL_BYTES = 64 * 1024;
const REQUEST_TIMEOUT_MS = 5_000;
/**
 * The default of `appendDeadlineMs`. It is less than the 30 s that requests wait by default, so that callers receive
 * the log's own reason for a missing response. Longer waits are shortened to it: a message that is sent again after the
 * stream's window for duplicates (two minutes) would be stored twice.
 */
const APPEND_DEADLINE_MS = 29_000;

/**
 * Opens a log on a NATS JetStream stream. Nothing is created on the server before `create` is called. `signal` aborts
 * both opening and creation. The configuration has checked the names. Throws `CONFIG_INVALID`, or, within seconds,
 * `LOG_UNREACHABLE` if no server responds or the credentials are refused. An open log survives interruptions.
 */
export async function openNatsTxLog(options: NatsTxLogOptions): Promise<TxLog> {
  const { stream = "cairn", domain } = options;
  const link = await NatsLink.open(options);
  try {
    // The account's limits are not checked first, because that would require a permission that the log does not
    // otherwise need.
    const manager = await link.connection.jetstreamManager({
      checkAPI: false,
      timeout: REQUEST_TIMEOUT_MS,
      ...(domain !== undefined && { domain }),
    });
    return new NatsTxLog(link, manager, stream, options);
  } catch (error) {
    await link.close();
    throw error;
  }
}

class NatsTxLog implements TxLog {
  readonly name: string;
  readonly location: string;
  readonly peers: NatsPeers;
  readonly #link: NatsLink;
  readonly #manager: JetStreamManager;
  readonly #stream: NatsStream;
  readonly #publisher: NatsPublisher;
  readonly #readers = new Set<NatsReader>();
  readonly #pullTiming: PullTiming;
  /** The bound on a pull, which is lowered for servers that disconnect clients for which that much waits. */
  #pullBytes = DEFAULT_MAX_BYTES;
  readonly #api: string;
  #closed = false;
  /** The stream that was last read or, before any reading, the first one that was found. */
  #target: StreamTarget | undefined;
  #findingTarget: Promise<StreamTarget> | undefined;

  constructor(link: NatsLink, manager: JetStreamManager, stream: string, options: NatsTxLogOptions) {
    this.name = stream;
    this.location = link.place;
    this.#link = link;
    this.#manager = manager;
    this.#api = options.domain === undefined ? "$JS.API" : `$JS.${options.domain}.API`;
    this.#pullTiming = { ...DEFAULT_PULL_TIMING, ...options.pullTiming };
    const { replicas = 1, createStream = true, signal } = options;
    const creation = { replicas, create: createStream, signal };
    this.#stream = new NatsStream(link, manager, stream, { api: this.#api, ...creation });
    this.peers = new NatsPeers(link, this.#stream);
    this.#publisher = new NatsPublisher(link, {
      stream,
      find: async () => {
        const info = await this.#stream.find();
        const now = info && targetOf(info);
        // The stream may have a new subject.
        if (now !== undefined && now.created === this.#target?.created) this.#target = now;
        return now;
      },
      maxInflight: options.maxInflight ?? 2_000,
      deadlineMs: options.appendDeadlineMs ?? APPEND_DEADLINE_MS,
    });
  }

  get maxPayload(): number {
    return Math.max(0, this.#link.maxPayload - HEADER_RESERVE_BYTES);
  }

  readonly id: TxLog["id"] = () => this.#stream.logId();
  readonly bounds: TxLog["bounds"] = () => this.#stream.bounds();
  readonly fetch: TxLog["fetch"] = (position) => this.#stream.fetch(position);

  async exists(): Promise<boolean> {
    return ((await this.#stream.find())?.state.last_seq ?? 0) > 0;
  }

  async create(birthRecord: (logId: string) => Uint8Array): Promise<void> {
    await this.#stream.create(birthRecord);
    this.#target = undefined;
  }

  async append(payload: Uint8Array, options: AppendOptions = {}): Promise<Appended> {
    if (this.#closed) this.#link.check();
    if (payload.length > this.maxPayload) {
      void this.#link.seekHigherLimit();
      throw overMaxPayload(this.#link, payload.length);
    }
    // Either no call waits or all calls wait for the same promise, so that the log preserves their order.
    const target = this.#target ?? (await this.#findTarget());
    return this.#publisher.append(target, payload, options);
  }

  async inspect(logId?: string): Promise<readonly CairnError[]> {
    if (this.#link.isLimited) void this.#link.seekHigherLimit();
    const small = this.maxPayload < SMALL_MESSAGE ? smallMaxPayload(this.#link) : undefined;
    const found = [...(await this.#stream.inspect(logId)), small, this.#publisher.warning];
    return found.filter((one) => one !== undefined);
  }

  async removeUnused(logId: string): Promise<void> {
    await this.#stream.removeUnused(logId);
    this.#target = undefined;
  }

  onRestored(listener: () => void): () => void {
    const events = { restored: listener };
    this.#link.add(events);
    return () => this.#link.remove(events);
  }

  async trim(upTo: number): Promise<void> {
    await this.#stream.trim(upTo);
  }

  async *read(from: number, options: LogReadOptions): AsyncGenerator<readonly LogMessage[], void, void> {
    const info = await this.#stream.readable();
    if (from > info.state.last_seq + 1) return;
    if (options.signal.aborted) return;
    const reader = new NatsReader(this.#link, this.#manager, {
      ...options,
      ...this.#pullTiming,
      api: this.#api,
      stream: this.name,
      from,
      maxInactiveMs: inactiveLimit(info.config),
      maxBytes: Math.min(options.maxBytes ?? this.#pullBytes, this.#pullBytes),
    });
    this.#readers.add(reader);
    try {
      await reader.start();
      // Without a target, the next append determines why the stream accepts no messages.
      this.#target = takesMessages(info.config) ? targetOf(info) : undefined;
      for (let messages = await reader.take(); messages !== undefined; messages = await reader.take()) {
        yield messages;
        if (options.signal.aborted) return;
      }
    } finally {
      this.#readers.delete(reader);
      // A server disconnects a client for which more waits than its max_pending, and does not say so.
      if (reader.isCutOff) this.#pullBytes = Math.max(MIN_PULL_BYTES, this.#pullBytes / 2);
      reader.close();
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#publisher.close();
    for (const reader of this.#readers) reader.close();
    await this.#link.close();
  }

  async #findTarget(): Promise<StreamTarget> {
    this.#findingTarget ??= this.#stream.info().then(targetOf);
    try {
      this.#target = await this.#findingTarget;
      return this.#target;
    } catch (error) {
      throw isCairnError(error, "CONFIG_INVALID") ? notTaken(error) : error;
    } finally {
      this.#findingTarget = undefined;
    }
  }
}
