import type { Msg, NatsConnection, NatsError, Subscription } from "nats";

/** The body of a pull request (ADR-13), with durations in nanoseconds. */
interface PullRequest {
  readonly batch: number;
  readonly max_bytes?: number;
  readonly expires: number;
  readonly idle_heartbeat: number;
}

/**
 * One open pull. Each slot has its own subscription. Messages have the stream's subject, so only the subscription shows
 * to which of several pulls they belong.
 */
export class PullSlot {
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

  pull(subject: string, request: PullRequest): void {
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
