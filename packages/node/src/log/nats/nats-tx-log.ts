import { CairnError } from "@cairn/kv";
import type { JetStreamManager } from "nats";
import type { Appended } from "../group-commit.ts";
import { type NatsConnectionOptions, NatsLink } from "./nats-connection.ts";
import { NatsPeers } from "./nats-peers.ts";
import { NatsPublisher } from "./nats-publisher.ts";
import { DEFAULT_PULL_TIMING, NatsReader, type PullTiming } from "./nats-reader.ts";
import { NatsStream } from "./nats-stream.ts";
import type { LogBounds, LogMessage, LogReadOptions, TxLog } from "../tx-log.ts";

/** Where a log on NATS JetStream is, and how to use it. */
export interface NatsTxLogOptions extends NatsConnectionOptions {
  /** The stream; its name is the log's. Default `cairn`. */
  readonly stream?: string;
  /** Of a stream made by `create`. Default 1. */
  readonly replicas?: number;
  /** Whether `create` may make the stream. Default true. */
  readonly createStream?: boolean;
  /** How many appended messages may wait for their acknowledgement at once; more wait here. Default 2,000. */
  readonly maxInflight?: number;
  /** How long an append is tried before it rejects with `LOG_UNREACHABLE`, in milliseconds, where it names no time of its own. Default 29,000. */
  readonly appendDeadlineMs?: number;
  /** How soon a reader notices that the server has fallen silent. */
  readonly pullTiming?: PullTiming;
}

// What the headers of a message may take of the server's limit.
const HEADER_RESERVE = 1_024;
const REQUEST_TIMEOUT_MS = 5_000;
const ACK_TIMEOUT_MS = 5_000;
/** Less than the 30 s that requests wait where they say nothing, so that they hear from the log itself why it does not answer. */
const APPEND_DEADLINE_MS = 29_000;

/**
 * Opens a log on a NATS JetStream stream. Makes nothing on the server before `create`.
 * Errors: `LOG_UNREACHABLE` within seconds when no server answers or the credentials are refused; `CONFIG_INVALID`.
 * Once open it outlasts interruptions. The connection's settings are in {@link NatsConnectionOptions}.
 */
export async function openNatsTxLog(options: NatsTxLogOptions): Promise<TxLog> {
  const { stream = "cairn" } = options;
  if (!/^[^\s.*>/\\]{1,255}$/.test(stream)) {
    throw new CairnError("CONFIG_INVALID", `"${stream}" cannot be the name of a stream.`, {
      hint: "Use letters, digits, - and _.",
    });
  }
  const link = await NatsLink.open(options);
  try {
    // Asking for the account's limits first would need a permission that the log does without.
    const manager = await link.connection.jetstreamManager({ checkAPI: false, timeout: REQUEST_TIMEOUT_MS });
    return new NatsTxLog(link, manager, stream, options);
  } catch (error) {
    await link.close();
    throw error;
  }
}

class NatsTxLog implements TxLog {
  readonly name: string;
  readonly peers: NatsPeers;
  readonly #link: NatsLink;
  readonly #manager: JetStreamManager;
  readonly #stream: NatsStream;
  readonly #publisher: NatsPublisher;
  readonly #readers = new Set<NatsReader>();
  readonly #pullTiming: PullTiming;
  #closed = false;
  #subject: string | undefined;
  #findingSubject: Promise<string> | undefined;

  constructor(link: NatsLink, manager: JetStreamManager, stream: string, options: NatsTxLogOptions) {
    this.name = stream;
    this.#link = link;
    this.#manager = manager;
    this.#pullTiming = options.pullTiming ?? DEFAULT_PULL_TIMING;
    const creation = { replicas: options.replicas ?? 1, create: options.createStream ?? true };
    this.#stream = new NatsStream(link, manager, stream, creation);
    this.peers = new NatsPeers(link, this.#stream);
    this.#publisher = new NatsPublisher(link, {
      stream,
      maxInflight: options.maxInflight ?? 2_000,
      deadlineMs: options.appendDeadlineMs ?? APPEND_DEADLINE_MS,
      ackTimeoutMs: ACK_TIMEOUT_MS,
    });
  }

  get maxPayload(): number {
    return (this.#link.connection.info?.max_payload ?? 1_048_576) - HEADER_RESERVE;
  }

  async id(): Promise<string | undefined> {
    this.#check();
    return this.#stream.logId();
  }

  async exists(): Promise<boolean> {
    this.#check();
    return ((await this.#stream.find())?.state.last_seq ?? 0) > 0;
  }

  async create(birthRecord: (logId: string) => Uint8Array): Promise<void> {
    this.#check();
    await this.#stream.create(birthRecord);
  }

  async append(
    payload: Uint8Array,
    options: { messageId?: string; timeoutMs?: number } = {},
  ): Promise<Appended> {
    this.#check();
    if (payload.length > this.maxPayload) {
      throw new CairnError(
        "TX_TOO_LARGE",
        `A message of ${payload.length} bytes is larger than the log takes.`,
        {
          hint: `The limit is ${this.maxPayload} bytes: split the transaction, or raise max_payload of nats-server.`,
        },
      );
    }
    // Nothing, or all on one promise, is waited for: the order of the calls has to be the order in the log.
    const subject = this.#subject ?? (await this.#findSubject());
    return this.#publisher.append(subject, payload, options);
  }

  async bounds(): Promise<LogBounds> {
    this.#check();
    return this.#stream.bounds();
  }

  async fetch(position: number): Promise<LogMessage | undefined> {
    this.#check();
    return this.#stream.fetch(position);
  }

  async inspect(): Promise<readonly CairnError[]> {
    this.#check();
    return this.#stream.inspect();
  }

  async trim(upTo: number): Promise<void> {
    this.#check();
    await this.#stream.trim(upTo);
  }

  async *read(from: number, options: LogReadOptions): AsyncGenerator<readonly LogMessage[], void, void> {
    this.#check();
    if (from > (await this.#stream.bounds()).last + 1) return;
    if (options.signal.aborted) return;
    const reader = new NatsReader(this.#link, this.#manager, this.name, from, {
      ...options,
      ...this.#pullTiming,
    });
    this.#readers.add(reader);
    try {
      await reader.start();
      for (let messages = await reader.take(); messages !== undefined; messages = await reader.take()) {
        yield messages;
        if (options.signal.aborted) return;
      }
    } finally {
      this.#readers.delete(reader);
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

  async #findSubject(): Promise<string> {
    this.#findingSubject ??= this.#stream.subject();
    try {
      this.#subject = await this.#findingSubject;
      return this.#subject;
    } finally {
      this.#findingSubject = undefined;
    }
  }

  #check(): void {
    if (this.#closed) throw new CairnError("LOG_UNREACHABLE", `The log "${this.name}" is closed.`);
  }
}
