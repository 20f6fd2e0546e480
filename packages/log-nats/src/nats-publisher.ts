import { systemClock, CairnError, isCairnError } from "@cairn/kv";
import { logUnreachable } from "./nats-reachable.ts";
import { createHash, randomUUID } from "node:crypto";
import { headers, type Msg, type MsgHdrs, type Subscription } from "nats";
import type { Appended, AppendOptions } from "@cairn/engine";
import type { LinkListener, NatsLink } from "./nats-connection.ts";
import { natsResend } from "./nats-resend.ts";
import type { StreamTarget } from "./nats-stream.ts";
import {
  missingStream,
  noResponders,
  notPermitted,
  notTaken,
  publishFailure,
  type PublishError,
  SEND_AGAIN,
  streamError,
} from "./nats-stream-error.ts";
import { type Acknowledger, ForeignStreams } from "./nats-foreign-streams.ts";

interface PublisherOptions {
  readonly stream: string;
  /**
   * Returns the stream that currently has this name; undefined if there is none. Throws `CONFIG_INVALID` if the stream
   * does not accept the log's messages.
   */
  readonly find: () => Promise<StreamTarget | undefined>;
  readonly maxInflight: number;
  /** How long (ms) an unacknowledged message is sent again. */
  readonly deadlineMs: number;
}

interface Flight {
  target: StreamTarget;
  readonly payload: Uint8Array;
  readonly headers: MsgHdrs;
  readonly place: AppendOptions["place"];
  /** True if the message's id was generated here rather than provided by the caller. */
  readonly ownId: boolean;
  /** The deadline. Like `sentAt`, it is a time of `performance.now()`. */
  readonly deadline: number;
  /** The time of the system clock after which the message is not sent again. */
  readonly expiresAt: number;
  readonly resolve: (appended: Appended) => void;
  readonly reject: (error: unknown) => void;
  sentAt: number;
  /** The reason for the missing acknowledgement, if a server has reported one. */
  refusal: CairnError | undefined;
}

interface PubAck extends Acknowledger {
  readonly seq: number;
  readonly duplicate?: boolean;
  readonly error?: PublishError;
}

/** Bounds the memory in use, because messages are kept until they are acknowledged. */
const MAX_INFLIGHT_BYTES = 32 * 1024 * 1024;
const TICK_MS = 250;
/** How long each attempt waits for a response. */
const ACK_TIMEOUT_MS = 5_000;
/**
 * How long messages wait for a lost connection or a missing stream (ms), such as those of a server that is restarted, or
 * of a cluster that has just started and does not know its streams yet.
 */
const PATIENCE_MS = 5_000;
/**
 * The step of the system's clock that is tolerated (ms). Deadlines are measured by a clock that stands still while the
 * machine is suspended. A message that was stored before must not be sent again after the server has forgotten its id,
 * so its deadline is also compared with the system's clock.
 */
const CLOCK_STEP_MS = 60_000;

/**
 * Publishes with many messages in flight. Each message has an id, so a message whose acknowledgement is missing
 * (because of a timeout, a lost connection or a missing leader) can be sent again until it is acknowledged, its deadline
 * passes, or the connection or the stream has been missing for {@link PATIENCE_MS} (`LOG_UNREACHABLE`). Messages are sent, and sent again, in the order of the calls. They are stored in
 * a different order only if the server refuses a message and accepts a later one while both are unacknowledged.
 *
 * Before messages are sent again, the stream is looked up: a stream that replaced the intended one receives nothing,
 * and a stream whose subject changed receives the messages on its new subject.
 */
export class NatsPublisher implements LinkListener {
  readonly #link: NatsLink;
  readonly #options: PublisherOptions;
  readonly #inbox: string;
  readonly #resend: ReturnType<typeof natsResend>;
  readonly #foreign: ForeignStreams;
  /** Undefined after the server has refused it; the next message then subscribes again. */
  #subscription: Subscription | undefined;
  #subscribedAt = 0;
  /** The unacknowledged messages in the order of sending, keyed by the number at the end of their reply subject. */
  readonly #flights = new Map<number, Flight>();
  #waiting: Flight[] = [];
  #inflightBytes = 0;
  #counter = 0;
  /** True while nothing new is sent: the connection is down, or a retry that keeps the order is scheduled. */
  #paused = false;
  /** When the connection was lost, and when the stream was first found missing (by `performance.now`). */
  #downSince: number | undefined;
  #goneSince: number | undefined;
  #tick: NodeJS.Timeout | undefined;
  #isPumpDue = false;
  #closed = false;
  /** Why messages that have been sent again are not acknowledged: nothing receives them. */
  #unheard: CairnError | undefined;

  constructor(link: NatsLink, options: PublisherOptions) {
    this.#link = link;
    this.#options = options;
    this.#inbox = link.createInbox();
    this.#foreign = new ForeignStreams(options.stream);
    this.#resend = natsResend({
      isPossible: () => link.connected,
      look: async () => await this.#look(),
      send: () => {
        this.#paused = false;
        this.#rejectOverdue();
        this.#unheard = undefined;
        for (const [number, flight] of this.#flights) this.#send(number, flight);
        this.#pump();
      },
    });
    this.#subscription = this.#subscribe();
    link.add(this);
  }

  append(
    target: StreamTarget,
    payload: Uint8Array,
    { messageId, timeoutMs = this.#options.deadlineMs, place }: AppendOptions,
  ): Promise<Appended> {
    if (hasLasted(this.#downSince)) return Promise.reject(this.#link.down());
    return new Promise((resolve, reject) => {
      const fields = headers();
      fields.append("Nats-Msg-Id", messageId === undefined ? randomUUID() : headerValue(messageId));
      fields.append("Nats-Expected-Stream", this.#options.stream);
      const withinMs = Math.min(timeoutMs, this.#options.deadlineMs);
      const deadline = performance.now() + withinMs;
      const expiresAt = systemClock.now() + withinMs + CLOCK_STEP_MS;
      const ownId = messageId === undefined;
      this.#foreign.domain = target.domain;
      if (!this.#closed) this.#subscription ??= this.#subscribe();
      const pending = { resolve, reject, place, sentAt: 0, refusal: undefined };
      this.#waiting.push({ target, payload, headers: fields, ownId, deadline, expiresAt, ...pending });
      this.#pumpSoon();
      this.#tick ??= setInterval(() => this.#checkTimes(), TICK_MS);
    });
  }

  get warning(): CairnError | undefined {
    return this.#foreign.warning;
  }

  interrupted(): void {
    this.#paused = true;
    this.#downSince ??= performance.now();
    this.#resend.interrupt();
  }

  restored(): void {
    this.#downSince = undefined;
    this.#resend.now();
  }

  publishDenied(subject: string): void {
    const isFor = ({ target }: Flight): boolean => target.subject === subject;
    // Other subjects belong to other users of this connection.
    if (![...this.#flights.values(), ...this.#waiting].some(isFor)) return;
    this.#rejectAll(notPermitted(this.#link, { operation: "publish", subject }));
  }

  close(): void {
    this.#closed = true;
    this.#link.remove(this);
    this.#rejectAll(new CairnError("LOG_UNREACHABLE", `The log "${this.#options.stream}" was closed.`));
    this.#resend.close();
    this.#subscription?.unsubscribe();
  }

  #subscribe(): Subscription {
    this.#subscribedAt = performance.now();
    return this.#link.connection.subscribe(`${this.#inbox}.*`, {
      callback: (error, message) => {
        if (error === null) return this.#answered(message);
        // No acknowledgement can arrive, because the user is not permitted to subscribe to its inbox.
        this.#subscription = undefined;
        this.#rejectAll(streamError(this.#options.stream, this.#link, error));
      },
    });
  }

  /** Acknowledgements may be missing because the server has lost, or never received, the subscription to them. */
  async #resubscribe(): Promise<void> {
    if (!this.#link.connected || performance.now() - this.#subscribedAt < ACK_TIMEOUT_MS) return;
    const former = this.#subscription;
    this.#subscription = this.#subscribe();
    // Until the server has processed the new one, acknowledgements may arrive on the former one.
    await this.#link.connection.flush().catch(() => {});
    former?.unsubscribe();
  }

  /** Sends all messages of this turn of the event loop together: each write to the socket is expensive. */
  #pumpSoon(): void {
    if (this.#isPumpDue) return;
    this.#isPumpDue = true;
    setImmediate(() => {
      this.#isPumpDue = false;
      this.#pump();
    });
  }

  #pump(): void {
    let sent = 0;
    for (const flight of this.#waiting) {
      if (this.#paused || this.#closed || this.#flights.size >= this.#options.maxInflight) break;
      if (this.#flights.size > 0 && this.#inflightBytes + flight.payload.length > MAX_INFLIGHT_BYTES) break;
      this.#counter += 1;
      this.#flights.set(this.#counter, flight);
      this.#inflightBytes += flight.payload.length;
      this.#send(this.#counter, flight);
      sent += 1;
    }
    if (sent === this.#waiting.length) this.#waiting = [];
    else if (sent > 0) this.#waiting.splice(0, sent);
  }

  #send(number: number, flight: Flight): void {
    const failure = flight.place?.failure();
    if (failure !== undefined) {
      this.#land(number, flight);
      return abandon(flight, failure.error);
    }
    flight.sentAt = performance.now();
    const reply = `${this.#inbox}.${number}`;
    try {
      this.#link.connection.publish(flight.target.subject, flight.payload, {
        headers: flight.headers,
        reply,
      });
    } catch (error) {
      // This happens, for example, if the size limit was lowered: the server disconnects a client that exceeds it.
      this.#land(number, flight);
      abandon(flight, streamError(this.#options.stream, this.#link, error));
    }
  }

  #answered(message: Msg): void {
    const number = Number(message.subject.slice(this.#inbox.length + 1));
    const flight = this.#flights.get(number);
    if (message.data.length > 0) {
      const ack = message.json<PubAck>();
      const isError = ack.error !== undefined;
      if (this.#foreign.isForeign(ack, isError)) {
        const subject = flight?.target.subject ?? `${this.#options.stream}.tx`;
        const refusal = this.#foreign.met(ack, { subject, isError });
        if (flight !== undefined) flight.refusal = refusal;
        return;
      }
      if (flight !== undefined) return this.#acknowledged(number, flight, ack);
    }
    // An empty reply means "no responders": the stream no longer exists, or does not have a leader yet.
    if (flight === undefined) return;
    this.#unheard = noResponders(this.#link, flight.target.subject);
    this.#retrySoon();
  }

  #acknowledged(number: number, flight: Flight, { seq, duplicate = false, error }: PubAck): void {
    const failure = error === undefined ? undefined : publishFailure(this.#options.stream, error);
    if (failure === "retry") return this.#retrySoon();
    // An error does not name its domain. If two streams respond, only the deadline shows whether the right one has
    // responded.
    if (failure !== undefined && this.warning !== undefined) {
      flight.refusal = failure;
      return;
    }
    this.#land(number, flight);
    this.#resend.succeeded();
    // If the id was generated here, a duplicate can only come from an earlier attempt to send this message.
    if (failure === undefined) flight.resolve({ position: seq, duplicate: duplicate && !flight.ownId });
    else abandon(flight, failure);
    this.#pump();
  }

  #land(number: number, flight: Flight): void {
    this.#flights.delete(number);
    this.#inflightBytes -= flight.payload.length;
  }

  /** Sends all unacknowledged messages again, in order, after a pause in which no new message is sent. */
  #retrySoon(): void {
    this.#paused = true;
    this.#resend.soon();
  }

  /** Whether to send messages again. False requests another lookup: there is no response or no stream. */
  async #look(): Promise<boolean> {
    if (this.#flights.size + this.#waiting.length === 0) return true;
    let now: StreamTarget | undefined;
    try {
      now = await this.#options.find();
      this.#goneSince = now === undefined ? (this.#goneSince ?? performance.now()) : undefined;
    } catch (error) {
      if (isCairnError(error, "CONFIG_INVALID")) this.#rejectAll(notTaken(error));
    }
    if (now === undefined) {
      if (hasLasted(this.#goneSince)) this.#rejectAll(missingStream(this.#options.stream, this.#link));
      return this.#flights.size + this.#waiting.length === 0;
    }
    const { domain, created } = now;
    this.#foreign.domain = domain;
    const replaced = logUnreachable(
      `The stream "${this.#options.stream}" was deleted and created again before it acknowledged a message.`,
      "Check the state of the node, which compares its log (cairn status). Nothing was written to the new stream, but the message may have been stored in the deleted one.",
    );
    this.#rejectWhere(({ target }) => (target.created === created ? undefined : replaced));
    // The subject of the stream may have changed.
    for (const flight of [...this.#flights.values(), ...this.#waiting]) flight.target = now;
    return true;
  }

  /** Rejects messages whose time has passed, on either clock. */
  #rejectOverdue(): void {
    const [now, time] = [performance.now(), systemClock.now()];
    this.#rejectWhere((flight) =>
      flight.deadline <= now || flight.expiresAt <= time ? this.#overdue(flight) : undefined,
    );
  }

  /** Rejects the messages, sent or waiting, for which there is a reason, and those that follow them in a sequence. */
  #rejectWhere(reasonFor: (flight: Flight) => CairnError | undefined): void {
    for (const [number, flight] of this.#flights)
      if (isRejected(flight, reasonFor)) this.#land(number, flight);
    this.#waiting = this.#waiting.filter((flight) => !isRejected(flight, reasonFor));
  }

  #checkTimes(): void {
    const now = performance.now();
    const flights = [...this.#flights.values()];
    const late = flights.some(({ sentAt }) => now - sentAt > ACK_TIMEOUT_MS);
    // A connection that ends meanwhile subscribes again by itself.
    if (late || flights.some(({ deadline }) => deadline <= now)) this.#resubscribe().catch(() => {});
    this.#rejectOverdue();
    if (hasLasted(this.#downSince)) this.#rejectAll(this.#link.down());
    if (late && this.#link.connected) this.#retrySoon();
    else this.#pump();
    if (this.#flights.size + this.#waiting.length === 0) {
      clearInterval(this.#tick);
      this.#tick = undefined;
    }
  }

  #overdue({ refusal }: Flight): CairnError {
    const reason = refusal ?? this.#unheard;
    if (reason !== undefined) return reason;
    return logUnreachable(
      `NATS at ${this.#link.place} did not acknowledge a message for "${this.#options.stream}" in time.`,
      `Check the server, and that most of its cluster's servers are running. If its own log reports a full disk, free some space and restart the server, which otherwise stores nothing. ${SEND_AGAIN}`,
    );
  }

  #rejectAll(error: CairnError): void {
    this.#rejectWhere(() => error);
    clearInterval(this.#tick);
    this.#tick = undefined;
  }
}

function abandon({ place, reject }: Flight, error: unknown): void {
  place?.fail(error);
  reject(error);
}

function isRejected(flight: Flight, reasonFor: (flight: Flight) => CairnError | undefined): boolean {
  const reason = reasonFor(flight);
  const failure = reason === undefined ? flight.place?.failure() : { error: reason };
  if (failure === undefined) return false;
  abandon(flight, failure.error);
  return true;
}

function hasLasted(since: number | undefined): boolean {
  return since !== undefined && performance.now() - since >= PATIENCE_MS;
}

/** An id that a header would not preserve, such as one with spaces, is replaced with its hash. */
function headerValue(messageId: string): string {
  if (/^[!-~]{1,128}$/.test(messageId)) return messageId;
  return `sha256:${createHash("sha256").update(messageId).digest("hex")}`;
}
