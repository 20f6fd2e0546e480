import { createHash, randomUUID } from "node:crypto";
import { CairnError } from "@cairn/kv";
import { createInbox, headers, type Msg, type MsgHdrs, type Subscription } from "nats";
import type { Appended } from "../group-commit.ts";
import type { LinkListener, NatsLink } from "./nats-connection.ts";
import { publishFailure, type PublishError } from "./nats-publish-failure.ts";
import type { StreamTarget } from "./nats-stream.ts";
import { notPermitted, streamError } from "./nats-stream-error.ts";

/** How {@link NatsPublisher} publishes. */
export interface PublisherOptions {
  readonly stream: string;
  /** Asks for the stream that has this name now; undefined when none has. */
  readonly find: () => Promise<StreamTarget | undefined>;
  /** How many messages may wait for their acknowledgement. */
  readonly maxInflight: number;
  /** How long a message is tried at most, and how long one acknowledgement is waited for, in milliseconds. */
  readonly deadlineMs: number;
  readonly ackTimeoutMs: number;
}

interface Flight {
  readonly target: StreamTarget;
  readonly payload: Uint8Array;
  readonly headers: MsgHdrs;
  /** The message's id was made here, not given by the caller. */
  readonly ownId: boolean;
  /** By `performance.now()`, as is `sentAt`. */
  readonly deadline: number;
  readonly resolve: (appended: Appended) => void;
  readonly reject: (error: unknown) => void;
  sentAt: number;
  /** Why it is not acknowledged yet, as far as a server has said. */
  refusal: CairnError | undefined;
}

interface PubAck {
  readonly stream?: string;
  /** Left out by servers without one, and beside an error. */
  readonly domain?: string;
  readonly seq: number;
  readonly duplicate?: boolean;
  readonly error?: PublishError;
}

/** Another stream that acknowledged what was published for this one, and when that was last (`performance.now()`). */
interface Stranger {
  readonly place: string;
  readonly subject: string;
  readonly seenAt: number;
}

/** Bounds memory: all of it is kept until it is acknowledged. */
const MAX_INFLIGHT_BYTES = 32 * 1024 * 1024;
const TICK_MS = 250;
/** For how long another stream that acknowledged something is told of. */
const STRANGER_MS = 600_000;

/**
 * Publishes with many messages under way at once. Each carries a message id, so one whose acknowledgement did not come (timeout, lost
 * connection, no leader) is sent again until it is acknowledged or its deadline passed (`LOG_UNREACHABLE`).
 * Messages are sent in the order of the calls, and again in that order. Only when the server refused a
 * message and took a later one does the stored order differ: both were then unacknowledged.
 *
 * Whatever takes the subject acknowledges, so what counts is the acknowledgement of the stream that was meant: of its name, in its domain.
 * Before anything is sent again it is looked at whether that stream is still there: one that was made anew in its place gets nothing.
 */
export class NatsPublisher implements LinkListener {
  readonly #link: NatsLink;
  readonly #options: PublisherOptions;
  readonly #inbox = createInbox();
  /** Undefined after the server refused it; it is asked again with the next message. */
  #subscription: Subscription | undefined;
  /** Sent and not acknowledged, by the number at the end of the reply subject, in the order in which they were sent. */
  readonly #flights = new Map<number, Flight>();
  #waiting: Flight[] = [];
  #inflightBytes = 0;
  #counter = 0;
  /** Nothing new is sent: the connection is down, or a retry is planned that keeps the order. */
  #paused = false;
  /** Of the last retry (ms); 0 since anything was acknowledged. */
  #retryPause = 0;
  #retry: NodeJS.Timeout | undefined;
  #tick: NodeJS.Timeout | undefined;
  /** The look before sending again that is under way. */
  #looking: symbol | undefined;
  /** Of the stream, as it was last said. */
  #domain = "";
  #stranger: Stranger | undefined;
  #closed = false;

  constructor(link: NatsLink, options: PublisherOptions) {
    this.#link = link;
    this.#options = options;
    this.#subscription = this.#subscribe();
    link.add(this);
  }

  append(
    target: StreamTarget,
    payload: Uint8Array,
    { messageId, timeoutMs = this.#options.deadlineMs }: { messageId?: string; timeoutMs?: number },
  ): Promise<Appended> {
    return new Promise((resolve, reject) => {
      const fields = headers();
      fields.append("Nats-Msg-Id", messageId === undefined ? randomUUID() : headerValue(messageId));
      fields.append("Nats-Expected-Stream", this.#options.stream);
      const deadline = performance.now() + Math.min(timeoutMs, this.#options.deadlineMs);
      const ownId = messageId === undefined;
      this.#domain = target.domain;
      if (!this.#closed) this.#subscription ??= this.#subscribe();
      const told = { resolve, reject, sentAt: 0, refusal: undefined };
      this.#waiting.push({ target, payload, headers: fields, ownId, deadline, ...told });
      this.#pump();
      this.#tick ??= setInterval(() => this.#checkTimes(), TICK_MS);
    });
  }

  /** `LOG_UNSAFE` where another stream takes what is published for this one. */
  get warning(): CairnError | undefined {
    if (this.#stranger === undefined || performance.now() - this.#stranger.seenAt > STRANGER_MS)
      return undefined;
    const { place, subject } = this.#stranger;
    return new CairnError(
      "LOG_UNSAFE",
      `${place} takes the subject "${subject}" as well: it stores what is written to the stream "${this.#options.stream}"${inDomain(this.#domain)} once more.`,
      { hint: this.#strangerHint(subject) },
    );
  }

  interrupted(): void {
    this.#paused = true;
    this.#looking = undefined;
  }

  restored(): void {
    this.#resend();
  }

  publishDenied(subject: string): void {
    const isFor = ({ target }: Flight): boolean => target.subject === subject;
    // What else this connection may not publish on is somebody else's.
    if (![...this.#flights.values(), ...this.#waiting].some(isFor)) return;
    this.#rejectAll(notPermitted(this.#link.place, { operation: "publish", subject }));
  }

  close(): void {
    this.#closed = true;
    this.#link.remove(this);
    this.#rejectAll(new CairnError("LOG_UNREACHABLE", `The log "${this.#options.stream}" was closed.`));
    clearTimeout(this.#retry);
    this.#subscription?.unsubscribe();
  }

  #subscribe(): Subscription {
    return this.#link.connection.subscribe(`${this.#inbox}.*`, {
      callback: (error, message) => {
        if (error === null) return this.#answered(message);
        // No acknowledgement can come: the user may not subscribe to its inbox.
        this.#subscription = undefined;
        this.#rejectAll(streamError(this.#options.stream, this.#link.place, error));
      },
    });
  }

  /** Sends what waits, as far as the window allows. */
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
    flight.sentAt = performance.now();
    const reply = `${this.#inbox}.${number}`;
    try {
      this.#link.connection.publish(flight.target.subject, flight.payload, {
        headers: flight.headers,
        reply,
      });
    } catch (error) {
      // For example when the server now connected to takes smaller messages than the one before.
      this.#land(number, flight);
      flight.reject(streamError(this.#options.stream, this.#link.place, error));
    }
  }

  #answered(message: Msg): void {
    const number = Number(message.subject.slice(this.#inbox.length + 1));
    const flight = this.#flights.get(number);
    if (message.data.length > 0) {
      const ack = message.json<PubAck>();
      if (this.#isForeign(ack)) return this.#met(ack, flight);
      if (flight !== undefined) return this.#acknowledged(number, flight, ack);
    }
    // An empty answer is the server's "nobody listens": the stream is gone, or its leader is not there yet.
    if (flight !== undefined) this.#retrySoon();
  }

  #acknowledged(number: number, flight: Flight, { seq, duplicate = false, error }: PubAck): void {
    const failure = error === undefined ? undefined : publishFailure(this.#options.stream, error);
    if (failure === "retry") return this.#retrySoon();
    // An error does not say its domain: where two streams answer, only the deadline tells whether the right one did.
    if (failure !== undefined && this.warning !== undefined) {
      flight.refusal = failure;
      return;
    }
    this.#land(number, flight);
    this.#retryPause = 0;
    // An id of our own can only have been stored by an earlier attempt at the same message.
    if (failure === undefined) flight.resolve({ position: seq, duplicate: duplicate && !flight.ownId });
    else flight.reject(failure);
    this.#pump();
  }

  #isForeign({ stream, domain = "", error }: PubAck): boolean {
    if (stream !== undefined && stream !== this.#options.stream) return true;
    return error === undefined && domain !== this.#domain;
  }

  #met({ stream = this.#options.stream, domain = "", error }: PubAck, flight: Flight | undefined): void {
    const subject = flight?.target.subject ?? this.#stranger?.subject ?? `${this.#options.stream}.tx`;
    const place = `The stream "${stream}"${inDomain(domain)}`;
    if (error === undefined) this.#stranger = { place, subject, seenAt: performance.now() };
    if (flight === undefined) return;
    flight.refusal = new CairnError(
      "LOG_UNREACHABLE",
      `${place} answered for the message, but the log, the stream "${this.#options.stream}"${inDomain(this.#domain)}, did not.`,
      { hint: this.#strangerHint(subject) },
    );
  }

  #strangerHint(subject: string): string {
    return `Give one of the two another subject than "${subject}", or keep the subject from crossing the leaf node's connection (deny_imports and deny_exports of its remote). "domain" of the log's configuration says whose stream is the log.`;
  }

  #land(number: number, flight: Flight): void {
    this.#flights.delete(number);
    this.#inflightBytes -= flight.payload.length;
  }

  /** After a pause in which nothing new is sent everything unacknowledged goes again, in order. */
  #retrySoon(): void {
    if (this.#retry !== undefined || this.#looking !== undefined || this.#closed) return;
    this.#paused = true;
    this.#retryPause = Math.min(2_000, Math.max(50, this.#retryPause * 2));
    this.#retry = setTimeout(() => this.#resend(), this.#retryPause);
  }

  #resend(): void {
    clearTimeout(this.#retry);
    this.#retry = undefined;
    if (!this.#link.connected || this.#closed) return;
    const look = Symbol("look");
    this.#looking = look;
    void this.#lookAgain(look);
  }

  async #lookAgain(look: symbol): Promise<void> {
    let now: StreamTarget | undefined;
    // Without an answer, as without a stream, it is tried again.
    if (this.#flights.size + this.#waiting.length > 0)
      now = await this.#options.find().catch(() => undefined);
    if (this.#looking !== look || this.#closed) return;
    this.#looking = undefined;
    if (now !== undefined) this.#leaveOthers(now);
    else if (this.#flights.size + this.#waiting.length > 0) return this.#retrySoon();
    this.#paused = false;
    for (const [number, flight] of this.#flights) this.#send(number, flight);
    this.#pump();
  }

  /** Gives up what was meant for a stream that is there no more. */
  #leaveOthers({ created, domain }: StreamTarget): void {
    this.#domain = domain;
    const isLeft = ({ target }: Flight): boolean => target.created !== created;
    for (const [number, flight] of this.#flights) {
      if (!isLeft(flight)) continue;
      this.#land(number, flight);
      flight.reject(this.#replaced());
    }
    const left = this.#waiting.filter(isLeft);
    if (left.length > 0) this.#waiting = this.#waiting.filter((flight) => !isLeft(flight));
    for (const flight of left) flight.reject(this.#replaced());
  }

  #checkTimes(): void {
    const now = performance.now();
    let late = false;
    for (const [number, flight] of this.#flights) {
      if (flight.deadline <= now) {
        this.#land(number, flight);
        flight.reject(this.#overdue(flight));
      } else if (now - flight.sentAt > this.#options.ackTimeoutMs) late = true;
    }
    const overdue = this.#waiting.filter(({ deadline }) => deadline <= now);
    if (overdue.length > 0) this.#waiting = this.#waiting.filter(({ deadline }) => deadline > now);
    for (const flight of overdue) flight.reject(this.#overdue(flight));
    if (late && this.#link.connected) this.#retrySoon();
    else this.#pump();
    if (this.#flights.size + this.#waiting.length === 0) {
      clearInterval(this.#tick);
      this.#tick = undefined;
    }
  }

  #replaced(): CairnError {
    return new CairnError(
      "LOG_UNREACHABLE",
      `The stream "${this.#options.stream}" was deleted and made anew before it acknowledged a message.`,
      {
        hint: "Nothing was written to the new one; the message may have been stored in the one that is gone. Look at the node (cairn status), which compares its log.",
      },
    );
  }

  #overdue({ refusal }: Flight): CairnError {
    if (refusal !== undefined) return refusal;
    return new CairnError(
      "LOG_UNREACHABLE",
      `NATS at ${this.#link.place} did not acknowledge a message for "${this.#options.stream}" in time.`,
      { hint: "It may or may not be stored; sending it again with the same id is safe. Check the server." },
    );
  }

  #rejectAll(error: CairnError): void {
    const flights = [...this.#flights.values(), ...this.#waiting];
    this.#flights.clear();
    this.#waiting = [];
    this.#inflightBytes = 0;
    clearInterval(this.#tick);
    this.#tick = undefined;
    for (const flight of flights) flight.reject(error);
  }
}

/** A domain in a sentence; nothing for a server without one. */
function inDomain(domain: string): string {
  return domain === "" ? "" : ` in the domain "${domain}"`;
}

/** A message id as a header's value: blanks and line ends would be changed on the way, so such ids go as their hash. */
function headerValue(messageId: string): string {
  if (/^[!-~]{1,128}$/.test(messageId)) return messageId;
  return `sha256:${createHash("sha256").update(messageId).digest("hex")}`;
}
