import type { Msg, NatsConnection, NatsError, Subscription } from "nats";

/** The body of a pull request (ADR-13); durations in nanoseconds. */
export interface PullRequest {
  readonly batch: number;
  readonly max_bytes?: number;
  readonly expires: number;
  readonly idle_heartbeat: number;
}

/**
 * One open pull. Each slot has a subscription of its own: messages bear the stream's subject, so only the subscription
 * tells which of several pulls they answer.
 */
export class PullSlot {
  /** Messages still expected; 0 when no pull is open. */
  remaining = 0;
  /** Messages that the open pull brought. */
  received = 0;
  readonly #connection: NatsConnection;
  readonly #inbox: string;
  #subscription: Subscription | undefined;
  /** How many were sent; the number of the last ends the subject of what the server says of it. */
  #pulls = 0;
  #sentAt = 0;

  constructor(connection: NatsConnection, inbox: string) {
    this.#connection = connection;
    this.#inbox = inbox;
  }

  /** Milliseconds since the pull was sent. */
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

  /** Whether a status with this subject is about the open pull, and not a late word about one before it. */
  owns(subject: string): boolean {
    return this.remaining > 0 && subject === `${this.#inbox}.${this.#pulls}`;
  }

  close(): void {
    this.remaining = 0;
    this.#subscription?.unsubscribe();
  }
}
