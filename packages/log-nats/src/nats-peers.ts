import { CairnError, errorMessage, unlessAborted } from "@cairn/kv";
import { type Msg, type NatsError, type StreamInfo, type Subscription } from "nats";
import type { NatsLink } from "./nats-connection.ts";
import { logUnreachable } from "./nats-reachable.ts";
import type { NatsStream } from "./nats-stream.ts";
import { covers } from "./nats-stream-settings.ts";
import type { PeerChannel, SendAnswer } from "@cairn/engine";

/** The status of a server's reply if a subject has no subscribers. */
const NO_RESPONDERS = 503;

/** A {@link PeerChannel} that uses requests and replies of core NATS on `_CAIRN.nodes.<stream>`. */
export class NatsPeers implements PeerChannel {
  readonly address: string;
  readonly #link: NatsLink;
  readonly #stream: NatsStream;

  constructor(link: NatsLink, stream: NatsStream) {
    // The address is not below the stream's name, because the stream's subjects may be `<stream>.>`.
    this.address = `_CAIRN.nodes.${stream.name}`;
    this.#link = link;
    this.#stream = stream;
  }

  get maxAnswerBytes(): number {
    return this.#link.maxPayload;
  }

  serve(
    answer: (question: Uint8Array, send: SendAnswer) => void,
    onRefused: (error: CairnError) => void,
  ): () => void {
    const { connection } = this.#link;
    let isRefused = false;
    const refuse = (action: string, subject: string, cause?: unknown): void => {
      if (!isRefused) onRefused(this.#denied(action, subject, cause));
      isRefused = true;
    };
    // The inboxes to which a reply was sent. If the node may not publish there, the server reports this only
    // afterwards.
    const answered = new Set<string>();
    const listener = {
      publishDenied: (subject: string) => {
        if (answered.has(subject)) refuse("publish", subject);
      },
    };
    const callback = (error: NatsError | null, message: Msg): void => {
      if (error !== null) return refuse("subscribe to", this.address, error);
      const { reply, data } = message;
      if (reply === undefined || reply === "") return;
      remember(answered, reply);
      answer(data, (bytes) => {
        // Once the connection is down, no node is waiting for the response.
        if (this.#link.connected) connection.publish(reply, bytes);
      });
    };
    this.#link.add(listener);
    const subscription = this.#subscribe(this.address, { callback });
    return () => {
      this.#link.remove(listener);
      subscription?.unsubscribe();
    };
  }

  async *ask(question: Uint8Array, signal: AbortSignal): AsyncGenerator<Uint8Array, void, void> {
    // A missing stream is not an obstacle, because nodes that had it open can report that it is missing.
    const { name, subjects } = (await this.#found(signal))?.config ?? { name: "", subjects: [] };
    if (subjects.some((pattern) => covers(pattern, this.address))) {
      const message = `The stream "${name}" captures the subject ${this.address}, so a request would be stored in the log.`;
      const hint = `Configure the stream to capture only the subject ${name}.tx.`;
      throw new CairnError("CONFIG_INVALID", message, hint);
    }
    if (signal.aborted) return;
    const inbox = this.#link.createInbox();
    const answers = this.#subscribe(inbox, {});
    if (answers === undefined) return;
    let denied: CairnError | undefined;
    const end = (): void => answers.unsubscribe();
    const listener = {
      publishDenied: (subject: string) => {
        if (subject !== this.address) return;
        denied = this.#denied("publish", subject);
        end();
      },
    };
    this.#link.add(listener);
    signal.addEventListener("abort", end, { once: true });
    try {
      this.#link.check();
      this.#link.connection.publish(this.address, question, { reply: inbox });
      for await (const message of answers) {
        if (message.data.length === 0 && message.headers?.code === NO_RESPONDERS) return;
        yield message.data;
      }
      if (denied !== undefined) throw denied;
    } catch (error) {
      if (error instanceof CairnError) throw error;
      throw this.#denied("subscribe to", inbox, error);
    } finally {
      signal.removeEventListener("abort", end);
      this.#link.remove(listener);
      end();
    }
  }

  /** Over a link that is stalled, the client would wait longer for the stream than the caller does for all responses. */
  async #found(signal: AbortSignal): Promise<StreamInfo | undefined> {
    try {
      return await unlessAborted(this.#stream.find(), signal);
    } catch (error) {
      if (!signal.aborted) throw error;
      throw logUnreachable(
        `NATS at ${this.#link.place} did not respond in time.`,
        "Make sure that the server is running, and check the network to it. If it is only slow, allow more time: cairn status --cluster --timeout PT10S.",
        error,
      );
    }
  }

  /** Subscribes to a subject; returns undefined on a connection that is being closed. */
  #subscribe(
    subject: string,
    options: { callback?: (error: NatsError | null, message: Msg) => void },
  ): Subscription | undefined {
    const { connection } = this.#link;
    return connection.isClosed() ? undefined : connection.subscribe(subject, options);
  }

  #denied(action: string, subject: string, cause?: unknown): CairnError {
    const { place, inboxPrefix } = this.#link;
    const why = cause === undefined ? "" : `: ${errorMessage(cause)}`;
    const message = `NATS at ${place} does not permit this user to ${action} ${subject}${why}.`;
    const hint = `Permit nodes to subscribe to ${this.address} and ${inboxPrefix}.>, and to publish to both (to the inboxes of all other nodes, or with allow_responses). They need this to compare themselves with one another, and for the status of the whole cluster.`;
    return new CairnError("UNAUTHORIZED", message, { hint, cause });
  }
}

const MAX_REMEMBERED_INBOXES = 100;

function remember(answered: Set<string>, inbox: string): void {
  answered.delete(inbox);
  answered.add(inbox);
  const [oldest] = answered;
  if (answered.size > MAX_REMEMBERED_INBOXES && oldest !== undefined) answered.delete(oldest);
}
