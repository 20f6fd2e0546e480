import { CairnClient, type ClientEvent } from "@cairn/client";
import { type Followed, runController } from "../../src/index.ts";

/** A controller that records what it receives. */
export class ObservedController {
  readonly name: string;
  readonly snapshots: number[] = [];
  readonly seen: { readonly txId: number; readonly changes: readonly string[] }[] = [];
  readonly #crash = new AbortController();
  readonly #running: Promise<void>;

  constructor(name: string, urls: readonly string[]) {
    this.name = name;
    this.#running = runController({
      client: new CairnClient({ urls }),
      name,
      leaseMs: 900,
      signal: this.#crash.signal,
      onFollowed: (followed) => this.#record(followed),
    });
    // `crash` reports the error.
    this.#running.catch(() => {});
  }

  get crashed(): boolean {
    return this.#crash.signal.aborted;
  }

  /** Stops the controller immediately. It keeps its lease until other controllers detect that it is silent. */
  async crash(): Promise<void> {
    this.#crash.abort();
    await this.#running;
  }

  #record(followed: Followed): void {
    if (followed.kind === "snapshot") {
      this.snapshots.push(followed.txId);
      return;
    }
    const { txId, changes } = followed.transaction;
    const received = changes.map(({ op, bucket, namespace, name, document }) =>
      [op, bucket, `${namespace}/${name}`, ...(op === "put" ? [JSON.stringify(document)] : [])].join(" "),
    );
    this.seen.push({ txId, changes: received });
  }
}

/** Reads every recorded event page by page, and returns them oldest first. */
export async function allEvents(client: CairnClient): Promise<ClientEvent[]> {
  const all: ClientEvent[] = [];
  for (;;) {
    const before = all.at(-1)?.id;
    const page = await client.events({ limit: 100, ...(before === undefined ? {} : { before }) });
    if (page.length === 0) return all.toReversed();
    all.push(...page);
  }
}
