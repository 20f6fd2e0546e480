import {
  AckPolicy,
  DeliverPolicy,
  type JetStreamManager,
  type Msg,
  nanos,
  type NatsConnection,
  type NatsError,
  ReplayPolicy,
  type Subscription,
} from "nats";
import type { LinkListener, NatsLink } from "./nats-connection.ts";
import { notPermitted, streamError } from "./nats-stream-error.ts";
import type { LogMessage, LogReadOptions } from "@cairn/engine";

const MISSED_HEARTBEATS = 3;
/**
 * Two pulls are open while an array is buffered and another one is applied, so up to four times this much is in memory.
 * With 8 MiB, a replay of messages of 60 kB took 1.2 times as long (bench row workloads).
 */
export const DEFAULT_MAX_BYTES = 2 * 1024 * 1024;

/** A pull's lifetime, the interval of the server's heartbeats, and when it removes an inactive consumer (ms). */
export interface PullTiming {
  readonly expiresMs: number;
  /** At most half of `expiresMs`. A reading ends after three missed heartbeats. */
  readonly heartbeatMs: number;
  readonly inactiveMs: number;
}

export const DEFAULT_PULL_TIMING: PullTiming = { expiresMs: 30_000, heartbeatMs: 5_000, inactiveMs: 300_000 };

interface ReaderOptions extends LogReadOptions, PullTiming {
  /** The prefix of the subjects of the JetStream API. */
  readonly api: string;
  readonly stream: string;
  /** The first position to read. */
  readonly from: number;
  readonly maxBytes: number;
  /** The maximum idle time of a consumer that the stream allows (ms); undefined for no limit. */
  readonly maxInactiveMs: number | undefined;
}

/**
 * Reads a stream through its own pull consumer. To apply backpressure, pulls are bounded, and a new one is sent only
 * when at most one array's worth of messages is buffered or in flight. Two pulls are open at a time, so that the server
 * always has a pull to serve.
 *
 * Anything other than the next message or the end of a pull ends the reading. The client's own consumers would resume
 * by position alone. After a loss on the server, they would continue in a different history without an error.
 */
export class NatsReader implements LinkListener {
  readonly #link: NatsLink;
  readonly #manager: JetStreamManager;
  readonly #options: ReaderOptions;
  #maxMessages: number;
  readonly #inbox: string;
  readonly #slots: readonly PullSlot[];
  readonly #stop = (): void => this.#end();
  #consumer: string | undefined;
  /** The number of received messages. The consumer numbers its messages, so lost ones can be detected. */
  #deliveries = 0;
  #buffer: LogMessage[] = [];
  #bufferedBytes = 0;
  /** True if the next message is larger than a pull's bound. */
  #oversized = false;
  /** The number of messages that the stream had for this reading when it began. */
  #pending = 0;
  /** Whether the connection was lost while the server was sending what it had. */
  isCutOff = false;
  #ended = false;
  #failure: Error | undefined;
  /** The number of heartbeats that have been due since the server last sent anything. */
  #silentTicks = 0;
  #ticks: NodeJS.Timeout | undefined;
  #wake: (() => void) | undefined;

  constructor(link: NatsLink, manager: JetStreamManager, options: ReaderOptions) {
    this.#link = link;
    this.#manager = manager;
    this.#options = options;
    this.#maxMessages = options.maxMessages ?? 5_000;
    this.#inbox = link.createInbox();
    this.#slots = ["a", "b"].map((name) => new PullSlot(link.connection, `${this.#inbox}.${name}`));
  }

  async start(): Promise<void> {
    this.#link.check();
    this.#link.add(this);
    this.#options.signal.addEventListener("abort", this.#stop);
    this.#consumer = await this.#makeConsumer();
    for (const slot of this.#slots) {
      slot.open((error, message) => {
        if (error === null) this.#received(slot, message);
        else this.#end(error);
      });
    }
    this.#ticks = setInterval(() => this.#countSilence(), this.#options.heartbeatMs);
    if (this.#options.signal.aborted) this.#end();
    this.#refill();
  }

  /** Returns the next messages; undefined once the reading has ended and all received messages have been returned. */
  async take(): Promise<readonly LogMessage[] | undefined> {
    while (this.#buffer.length === 0) {
      if (this.#failure !== undefined) throw this.#failure;
      if (this.#ended) return undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    const messages = this.#cut();
    this.#refill();
    return messages;
  }

  /** Removes the consumer. If the request is lost, the server later does so by itself. */
  close(): void {
    this.#end();
    this.#link.remove(this);
    this.#options.signal.removeEventListener("abort", this.#stop);
    clearInterval(this.#ticks);
    const { connection, connected } = this.#link;
    for (const slot of this.#slots) slot.close();
    if (connected && this.#consumer !== undefined) {
      connection.publish(
        `${this.#options.api}.CONSUMER.DELETE.${this.#options.stream}.${this.#consumer}`,
        "",
        {
          reply: this.#inbox,
        },
      );
    }
  }

  interrupted(): void {
    this.isCutOff = !this.#ended && this.#deliveries < this.#pending;
    this.#end();
  }

  publishDenied(subject: string): void {
    if (subject === this.#next) this.#end(notPermitted(this.#link, { operation: "publish", subject }));
  }

  get #next(): string {
    return `${this.#options.api}.CONSUMER.MSG.NEXT.${this.#options.stream}.${this.#consumer}`;
  }

  async #makeConsumer(): Promise<string> {
    const { stream, from, inactiveMs, maxInactiveMs = Infinity } = this.#options;
    try {
      const made = await this.#link.answer(
        this.#manager.consumers.add(stream, {
          deliver_policy: DeliverPolicy.StartSequence,
          opt_start_seq: Math.max(1, from),
          ack_policy: AckPolicy.None,
          replay_policy: ReplayPolicy.Instant,
          // The consumer need not survive its server, because the next reading creates another one.
          mem_storage: true,
          inactive_threshold: nanos(Math.min(inactiveMs, maxInactiveMs)),
        }),
      );
      const { name, config } = made;
      this.#pending = made.num_pending;
      // The server may set its own limit (max_request_batch).
      if ((config.max_batch ?? 0) > 0) this.#maxMessages = Math.min(this.#maxMessages, config.max_batch ?? 0);
      return name;
    } catch (error) {
      throw streamError(stream, this.#link, error);
    }
  }

  #received(slot: PullSlot, message: Msg): void {
    if (this.#ended) return;
    this.#silentTicks = 0;
    const ack = parseAckSubject(message.reply);
    if (ack === undefined) return this.#status(slot, message);
    slot.remaining -= 1;
    slot.received += 1;
    this.#deliveries += 1;
    if (ack.delivery !== this.#deliveries) return this.#end();
    this.#oversized = false;
    if (ack.position >= this.#options.from) {
      // The first position may not exist yet; some servers then begin with the last stored message.
      const { position, time, nanoseconds } = ack;
      this.#buffer.push({ position, time, nanoseconds, payload: message.data });
      this.#bufferedBytes += message.data.length;
    }
    if (slot.remaining === 0) this.#refill();
    this.#wakeUp();
  }

  #status(slot: PullSlot, message: Msg): void {
    const code = message.headers?.code ?? 0;
    const description = message.headers?.description ?? "";
    // The codes mean: 100, a heartbeat; 408, the pull has ended; 409, a bound was reached, or the consumer has changed;
    // 400, the pull was invalid (ADR-13).
    if (code === 100 || !slot.owns(message.subject)) return;
    if (code === 409 && /exceeds maxbytes/i.test(description)) {
      this.#oversized ||= slot.received === 0;
    } else if (code !== 408 || slot.age < this.#options.expiresMs / 2) {
      // Either the consumer was deleted, the leader has changed, the server is shutting down, there are no responders,
      // or a newer server sent an unknown status.
      return this.#end(code === 400 || /^exceeded/i.test(description) ? new Error(description) : undefined);
    }
    slot.remaining = 0;
    this.#refill();
  }

  #refill(): void {
    if (this.#ended || this.#consumer === undefined) return;
    const next = this.#next;
    const { expiresMs, heartbeatMs, maxBytes } = this.#options;
    for (const slot of this.#slots) {
      const expected = this.#slots.reduce((sum, { remaining }) => sum + remaining, this.#buffer.length);
      if (slot.remaining > 0 || expected > this.#maxMessages || this.#bufferedBytes > maxBytes) continue;
      // A message that is larger than a pull's bound is fetched alone, in a pull without that bound.
      if (this.#oversized && expected > 0) continue;
      const bounds = this.#oversized ? { batch: 1 } : { batch: this.#maxMessages, max_bytes: maxBytes };
      slot.pull(next, { ...bounds, expires: nanos(expiresMs), idle_heartbeat: nanos(heartbeatMs) });
    }
  }

  #cut(): readonly LogMessage[] {
    const { maxBytes } = this.#options;
    if (this.#buffer.length <= this.#maxMessages && this.#bufferedBytes <= maxBytes) {
      const all = this.#buffer;
      this.#buffer = [];
      this.#bufferedBytes = 0;
      return all;
    }
    let count = 0;
    let bytes = 0;
    for (const { payload } of this.#buffer) {
      if (count > 0 && (count >= this.#maxMessages || bytes + payload.length > maxBytes)) break;
      count += 1;
      bytes += payload.length;
    }
    this.#bufferedBytes -= bytes;
    return this.#buffer.splice(0, count);
  }

  /** Counts missed heartbeats in ticks of a timer: no tick passes while this process is busy. */
  #countSilence(): void {
    if (this.#slots.every(({ remaining }) => remaining === 0)) return;
    this.#silentTicks += 1;
    if (this.#silentTicks >= MISSED_HEARTBEATS) this.#end();
  }

  #end(failure?: Error): void {
    this.#ended = true;
    if (failure !== undefined) this.#failure ??= streamError(this.#options.stream, this.#link, failure);
    this.#wakeUp();
  }

  #wakeUp(): void {
    this.#wake?.();
    this.#wake = undefined;
  }
}

/**
 * One open pull. Messages have the stream's subject, so only a slot's own subscription shows to which pull they belong.
 */
class PullSlot {
  /** The number of messages that are still expected; 0 if no pull is open. */
  remaining = 0;
  /** The number of messages that the open pull has delivered. */
  received = 0;
  readonly #connection: NatsConnection;
  readonly #inbox: string;
  #subscription: Subscription | undefined;
  /** The number of pulls that have been sent. The subject of a status about a pull ends with the pull's number. */
  #pulls = 0;
  #sentAt = 0;

  constructor(connection: NatsConnection, inbox: string) {
    this.#connection = connection;
    this.#inbox = inbox;
  }

  get age(): number {
    return performance.now() - this.#sentAt;
  }

  open(callback: (error: NatsError | null, message: Msg) => void): void {
    this.#subscription = this.#connection.subscribe(`${this.#inbox}.*`, { callback });
  }

  /** `request` is a pull request as in ADR-13, with durations in nanoseconds. */
  pull(subject: string, request: { readonly batch: number; readonly [field: string]: number }): void {
    this.#pulls += 1;
    this.#sentAt = performance.now();
    this.remaining = request.batch;
    this.received = 0;
    this.#connection.publish(subject, JSON.stringify(request), { reply: `${this.#inbox}.${this.#pulls}` });
  }

  /** Returns whether a status with this subject is about the open pull rather than an earlier one. */
  owns(subject: string): boolean {
    return this.remaining > 0 && subject === `${this.#inbox}.${this.#pulls}`;
  }

  close(): void {
    this.remaining = 0;
    this.#subscription?.unsubscribe();
  }
}

const PREFIX = "$JS.ACK.";

/**
 * Parses the reply subject of a delivered message. Returns undefined for anything else, such as a status from the
 * server. The subject has the form `$JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer
 * seq>.<time>.<pending>` or, since 2.8.0, `$JS.ACK.<domain>.<account>.<stream>.…`, with or without a random token at
 * its end (ADR-15). `delivery` counts the deliveries by the consumer from 1.
 */
export function parseAckSubject(
  reply: string | undefined,
): (Required<Omit<LogMessage, "payload">> & { readonly delivery: number }) | undefined {
  if (reply === undefined || !reply.startsWith(PREFIX)) return undefined;
  let end = reply.length;
  if (tokens(reply) > 11) end = reply.lastIndexOf(".", end - 1);
  // The subject is parsed from the end, because its beginning has two forms, and this code runs for every message.
  const pendingDot = reply.lastIndexOf(".", end - 1);
  const timeDot = reply.lastIndexOf(".", pendingDot - 1);
  const deliveryDot = reply.lastIndexOf(".", timeDot - 1);
  const positionDot = reply.lastIndexOf(".", deliveryDot - 1);
  return {
    position: Number(reply.slice(positionDot + 1, deliveryDot)),
    delivery: Number(reply.slice(deliveryDot + 1, timeDot)),
    // A JavaScript number cannot hold all digits of the time.
    time: Number(reply.slice(timeDot + 1, pendingDot - 6)),
    nanoseconds: Number(reply.slice(pendingDot - 6, pendingDot)),
  };
}

function tokens(subject: string): number {
  let count = 1;
  for (let dot = subject.indexOf("."); dot >= 0; dot = subject.indexOf(".", dot + 1)) count += 1;
  return count;
}
