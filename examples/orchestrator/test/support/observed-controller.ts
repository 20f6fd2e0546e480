import { CairnClient, type ClientEvent, type TxId } from "@cairn/client";
import { BUCKETS, type ClusterState } from "../../src/cluster-state.ts";
import { runController } from "../../src/index.ts";

/** A complete state of a controller. */
export interface SeenState {
  readonly asOf: TxId;
  /** The documents, each as `bucket key revision document`, sorted. */
  readonly documents: readonly string[];
}

/** A controller that records each of its complete states. */
export class ObservedController {
  readonly name: string;
  readonly seen: SeenState[] = [];
  /** How often it received everything anew. */
  beginnings = 0;
  readonly #crash = new AbortController();
  readonly #running: Promise<void>;

  constructor(name: string, urls: readonly string[]) {
    this.name = name;
    this.#running = runController({
      client: new CairnClient({ urls }),
      name,
      leaseMs: 900,
      signal: this.#crash.signal,
      onSeen: ({ changes }, state) => {
        this.beginnings += changes.filter(({ op }) => op === "clear").length;
        if (state.asOf !== undefined) this.seen.push({ asOf: state.asOf, documents: documentsOf(state) });
      },
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
}

/** Returns the documents of a state, each as `bucket key revision document`, sorted. */
export function documentsOf(state: ClusterState): string[] {
  const documents = BUCKETS.flatMap((bucket) =>
    [...state[bucket]].map(
      ([key, { revision, document }]) => `${bucket} ${key} ${revision} ${JSON.stringify(document)}`,
    ),
  );
  return documents.toSorted();
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
