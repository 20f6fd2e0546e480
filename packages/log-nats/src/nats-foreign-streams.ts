import { logUnreachable } from "./nats-reachable.ts";
import { CairnError } from "@cairn/kv";

/** The stream that acknowledged a message: its name and the domain of its servers. */
export interface Acknowledger {
  readonly stream?: string | undefined;
  /** The domain of the stream's servers. Absent from errors, and if the servers have no domain. */
  readonly domain?: string | undefined;
}

/** The time for which the acknowledgement of another stream is reported. */
const WARNING_MS = 600_000;

/**
 * Recognizes acknowledgements of other streams: every stream that captures a subject acknowledges its messages, but
 * only the log's own, by name and domain, counts. Warns if another stream captures the log's subject.
 */
export class ForeignStreams {
  /** The last known domain of the log's stream. It is empty if the servers have no domain. */
  domain = "";
  readonly #stream: string;
  #met: { readonly place: string; readonly subject: string; readonly at: number } | undefined;

  constructor(stream: string) {
    this.#stream = stream;
  }

  /** Returns whether another stream acknowledged the message. The domain of an error is unknown. */
  isForeign({ stream, domain = "" }: Acknowledger, isError: boolean): boolean {
    if (stream !== undefined && stream !== this.#stream) return true;
    return !isError && domain !== this.domain;
  }

  /** Records that another stream responded. Returns the error for callers that wait for the log's stream. */
  met(
    { stream = this.#stream, domain = "" }: Acknowledger,
    { subject, isError }: { readonly subject: string; readonly isError: boolean },
  ): CairnError {
    const place = `The stream "${stream}"${inDomain(domain)}`;
    if (!isError) this.#met = { place, subject, at: performance.now() };
    return logUnreachable(
      `${place} acknowledged the message, but the log's stream "${this.#stream}"${inDomain(this.domain)} did not.`,
      hintAbout(subject),
    );
  }

  /** Returns `LOG_UNSAFE` while another stream captures the log's subject. */
  get warning(): CairnError | undefined {
    if (this.#met === undefined || performance.now() - this.#met.at > WARNING_MS) return undefined;
    const { place, subject } = this.#met;
    return new CairnError(
      "LOG_UNSAFE",
      `${place} also captures the subject "${subject}", so it stores a second copy of each message of the stream "${this.#stream}"${inDomain(this.domain)}.`,
      hintAbout(subject),
    );
  }
}

function hintAbout(subject: string): string {
  return `Give one of the two streams a subject other than "${subject}", or keep the subject from crossing the leaf node's connection (deny_imports and deny_exports of its remote). "domain" of the log's configuration selects the stream that is the log.`;
}

function inDomain(domain: string): string {
  return domain === "" ? "" : ` in the domain "${domain}"`;
}
