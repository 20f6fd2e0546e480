import { CairnError } from "@cairn/kv";

/** Who acknowledged a message: a stream, by its name and the domain of its servers. */
export interface Acknowledger {
  readonly stream?: string | undefined;
  /** Left out by servers without one, and beside an error. */
  readonly domain?: string | undefined;
}

/** For how long another stream that acknowledged something is told of. */
const TOLD_MS = 600_000;

/**
 * Whatever takes a subject acknowledges what is published on it, so what counts is the acknowledgement of the stream that was meant: of
 * its name, in its domain. This knows which that is, and tells of another one that takes the log's subject too.
 */
export class NatsStranger {
  /** The domain of the stream that is meant, as it was last said; empty where its servers have none. */
  domain = "";
  readonly #stream: string;
  #met: { readonly place: string; readonly subject: string; readonly at: number } | undefined;

  constructor(stream: string) {
    this.#stream = stream;
  }

  /** Whether it was another stream. Of an error the domain is not known. */
  isForeign({ stream, domain = "" }: Acknowledger, isError: boolean): boolean {
    if (stream !== undefined && stream !== this.#stream) return true;
    return !isError && domain !== this.domain;
  }

  /** Notes that another stream answered, and says what that means to whoever waits for the right one. */
  met(
    { stream = this.#stream, domain = "" }: Acknowledger,
    { subject, isError }: { readonly subject: string; readonly isError: boolean },
  ): CairnError {
    const place = `The stream "${stream}"${inDomain(domain)}`;
    if (!isError) this.#met = { place, subject, at: performance.now() };
    return new CairnError(
      "LOG_UNREACHABLE",
      `${place} answered for the message, but the log, the stream "${this.#stream}"${inDomain(this.domain)}, did not.`,
      { hint: hintAbout(subject) },
    );
  }

  /** `LOG_UNSAFE` where another stream takes what is published for this one. */
  get warning(): CairnError | undefined {
    if (this.#met === undefined || performance.now() - this.#met.at > TOLD_MS) return undefined;
    const { place, subject } = this.#met;
    return new CairnError(
      "LOG_UNSAFE",
      `${place} takes the subject "${subject}" as well: it stores what is written to the stream "${this.#stream}"${inDomain(this.domain)} once more.`,
      { hint: hintAbout(subject) },
    );
  }
}

function hintAbout(subject: string): string {
  return `Give one of the two another subject than "${subject}", or keep the subject from crossing the leaf node's connection (deny_imports and deny_exports of its remote). "domain" of the log's configuration says whose stream is the log.`;
}

/** A domain in a sentence; nothing for a server without one. */
function inDomain(domain: string): string {
  return domain === "" ? "" : ` in the domain "${domain}"`;
}
