import { connect, DiscardPolicy, type JetStreamManager, nanos, type NatsConnection, NatsError } from "nats";
import type { LogMessage } from "@cairn/engine";

const NO_MESSAGE = 10037;
const NO_STREAM = 10059;
const AT_ONCE = 200;

/** The part of a stream's description that tests use, so that tests do not need the client's types. */
export interface StreamReport {
  readonly config: { readonly description?: string };
  readonly state: {
    readonly messages: number;
    readonly first_seq: number;
    readonly last_seq: number;
    readonly consumer_count: number;
  };
  readonly cluster?: {
    readonly leader?: string;
    readonly replicas?: readonly { readonly name: string; readonly current: boolean }[];
  };
}

/** Settings of a stream by their names in its configuration. */
type Settings = Readonly<Record<string, string | number | boolean | readonly string[]>>;

/** The settings for the flags of `nats stream edit` that hints name. Debian does not have the tool itself. */
const EDITS: Readonly<Record<string, (value: string) => Settings>> = {
  "--discard": (value) => ({ discard: value === "new" ? DiscardPolicy.New : DiscardPolicy.Old }),
  "--max-age": (value) => ({ max_age: nanos(Number(/^(\d+)s$/.exec(value)?.[1]) * 1_000) }),
  "--max-msgs": (value) => ({ max_msgs: Number(value) }),
  "--max-bytes": (value) => ({ max_bytes: Number(value) }),
  "--max-msgs-per-subject": (value) => ({ max_msgs_per_subject: Number(value) }),
  "--ack": () => ({ no_ack: false }),
  "--deny-delete": () => ({ deny_delete: true }),
  "--no-allow-rollup": () => ({ allow_rollup_hdrs: false }),
  "--dupe-window": (value) => ({ duplicate_window: nanos(Number(/^(\d+)m$/.exec(value)?.[1]) * 60_000) }),
  "--subjects": (value) => ({ subjects: [value] }),
};

/** Returns the settings in the first command `nats stream edit STREAM FLAG` in a string. */
export function namedEdit(text: string): {
  readonly stream: string;
  readonly settings: Settings;
} {
  const [, stream = "", flag = "", value = ""] =
    /\bnats stream edit (\S+) (--[a-z-]+)(?:=([^\s,:]*[^\s,:.]))?(?=[\s,:.]|$)/.exec(text) ?? [];
  const settings = EDITS[flag]?.(value);
  if (settings === undefined) throw new Error(`There is no known edit of a stream in: ${text}`);
  return { stream, settings };
}

/** Settings of a stream that an operator changes under running nodes. */
export interface StreamEdit {
  readonly max_msgs?: number;
  /** In nanoseconds, as are all times of a stream. */
  readonly max_age?: number;
  readonly duplicate_window?: number;
  readonly discard?: "old" | "new";
  readonly sealed?: boolean;
  readonly no_ack?: boolean;
  readonly sources?: { readonly name: string }[];
  readonly description?: string;
  readonly subjects?: string[];
}

/**
 * Changes a log's stream as operators, other programs and accidents do, and reads the stream without using any part of
 * a node. Does not reconnect: each run of the server needs a new operator.
 */
export class NatsOperator {
  readonly #client: NatsConnection;
  readonly #manager: JetStreamManager;
  readonly #timeout: number;
  readonly stream: string;

  private constructor(client: NatsConnection, manager: JetStreamManager, stream: string, timeout: number) {
    this.#client = client;
    this.#timeout = timeout;
    this.#manager = manager;
    this.stream = stream;
  }

  /**
   * Runs `act` as an operator, and disconnects. A request may take five seconds, because a server of a cluster without a
   * leader does not answer it, or `timeout` (ms).
   */
  static async at<T>(
    url: string,
    act: (operator: NatsOperator) => Promise<T>,
    { stream = "cairn", timeout = 5_000 }: { readonly stream?: string; readonly timeout?: number } = {},
  ): Promise<T> {
    const client = await connect({ servers: url, reconnect: false });
    try {
      const manager = await client.jetstreamManager({ timeout });
      return await act(new NatsOperator(client, manager, stream, timeout));
    } finally {
      await client.close();
    }
  }

  async info(): Promise<StreamReport> {
    return await this.#manager.streams.info(this.stream);
  }

  /** Deletes the stream, if there is one. */
  async deleteStream(): Promise<void> {
    try {
      await this.#manager.streams.delete(this.stream);
    } catch (error) {
      if (!(error instanceof NatsError) || error.api_error?.err_code !== NO_STREAM) throw error;
    }
  }

  /** Creates a stream that has the log's name but is not a Cairn log, with a message for each of `texts`. */
  async makeForeignStream(texts: readonly string[]): Promise<void> {
    const subject = `${this.stream}.tx`;
    await this.#manager.streams.add({ name: this.stream, subjects: [subject] });
    for (const text of texts) await this.#client.jetstream({ timeout: this.#timeout }).publish(subject, text);
  }

  /** Publishes a message without using any part of a node. Returns the message's position. */
  async publish(payload: Uint8Array, messageId?: string, subject = `${this.stream}.tx`): Promise<number> {
    const options = messageId === undefined ? {} : { msgID: messageId };
    return (await this.#client.jetstream({ timeout: this.#timeout }).publish(subject, payload, options)).seq;
  }

  /** Removes all messages before `position`. */
  async purgeBefore(position: number): Promise<void> {
    await this.#manager.streams.purge(this.stream, { seq: position });
  }

  /** Changes settings of the stream. `discard` is the behaviour of a full stream. */
  async edit({ discard, ...settings }: StreamEdit): Promise<void> {
    const policy = discard === "old" ? DiscardPolicy.Old : DiscardPolicy.New;
    await this.#manager.streams.update(this.stream, {
      ...settings,
      ...(discard === undefined ? {} : { discard: policy }),
    });
  }

  /** Runs the first `nats stream edit` command in a string. */
  async obey(text: string): Promise<void> {
    const { stream, settings } = namedEdit(text);
    await this.#manager.streams.update(stream, settings);
  }

  /** Removes one message. This is possible only in a stream that {@link makeDeletable} has created. */
  async deleteMessage(position: number): Promise<void> {
    await this.#manager.streams.deleteMessage(this.stream, position, false);
  }

  /** Creates the log's stream before a node does, with settings that permit the deletion of single messages. */
  async makeDeletable(): Promise<void> {
    await this.#manager.streams.add({ name: this.stream, subjects: [`${this.stream}.tx`] });
  }

  /** Creates the log's stream before a node does, with a limit on the number of its consumers. */
  async makeForReaders(readers: number): Promise<void> {
    const config = { name: this.stream, subjects: [`${this.stream}.tx`], max_consumers: readers };
    await this.#manager.streams.add(config);
  }

  /** Creates a stream with this number of replicas and removes it again. */
  async tryStream(replicas: number): Promise<void> {
    await this.#manager.streams.add({
      name: this.stream,
      subjects: [`${this.stream}.tx`],
      num_replicas: replicas,
    });
    await this.deleteStream();
  }

  /** Removes every consumer, as the server does after a period of inactivity. Returns their number. */
  async deleteConsumers(): Promise<number> {
    const consumers = await this.#manager.consumers.list(this.stream).next();
    for (const { name } of consumers) await this.#manager.consumers.delete(this.stream, name);
    return consumers.length;
  }

  async consumers(): Promise<number> {
    return (await this.info()).state.consumer_count;
  }

  /** Reads all messages of the stream, starting with `begin`, in order, each by its number. */
  async *messages(begin = 1): AsyncGenerator<LogMessage, void, void> {
    const { first_seq: first, last_seq: last } = (await this.info()).state;
    for (let from = Math.max(begin, first); from <= last; from += AT_ONCE) {
      const count = Math.min(AT_ONCE, last - from + 1);
      const found = await Promise.all(Array.from({ length: count }, (_, n) => this.#message(from + n)));
      for (const message of found) if (message !== undefined) yield message;
    }
  }

  async #message(position: number): Promise<LogMessage | undefined> {
    try {
      const { seq, data, time, timestamp } = await this.#manager.streams.getMessage(this.stream, {
        seq: position,
      });
      const [, fraction = ""] = /\.(\d+)Z$/.exec(timestamp) ?? [];
      const nanoseconds = Number(fraction.padEnd(9, "0").slice(3));
      return { position: seq, time: time.getTime(), nanoseconds, payload: data };
    } catch (error) {
      if (error instanceof NatsError && error.api_error?.err_code === NO_MESSAGE) return undefined;
      throw error;
    }
  }
}
