import type { SilentNode } from "./peer-messages.ts";

/** How long a silent node is remembered (ms). Nodes announce themselves about every minute. */
const REMEMBERED_MS = 3_600_000;
/** The nodes remembered are limited, because any process that can reach the nodes can send announcements. */
const MAX_REMEMBERED = 1_000;
const MAX_NAMED = 100;

interface Heard {
  readonly node: string;
  readonly log: string;
  readonly at: number;
}

/** The other nodes whose announcements a node has received, so that a frozen or killed node is still known. */
export class HeardNodes {
  readonly #heard = new Map<string, Heard>();
  readonly #now: () => number;

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** Records an announcement from a node that follows the log with this id. */
  heard({ instance, node, log }: Pick<Heard, "node" | "log"> & { readonly instance: string }): void {
    this.#heard.delete(instance);
    this.#heard.set(instance, { node, log, at: this.#now() });
    const [oldest] = this.#heard.keys();
    if (this.#heard.size > MAX_REMEMBERED && oldest !== undefined) this.#heard.delete(oldest);
  }

  /** Returns the instances that have sent an announcement within the last `withinMs`. */
  recent(withinMs: number): string[] {
    const now = this.#now();
    return [...this.#heard].filter(([, { at }]) => now - at < withinMs).map(([instance]) => instance);
  }

  left(instance: string): void {
    this.#heard.delete(instance);
  }

  /** Returns the nodes of a log that have sent an announcement within the last hour, except these instances. */
  others(log: string, instances: readonly string[]): SilentNode[] {
    const now = this.#now();
    const known = new Set(instances);
    return [...this.#heard]
      .filter(([instance, one]) => one.log === log && !known.has(instance) && now - one.at < REMEMBERED_MS)
      .map(([instance, { node, at }]) => ({ instance, node, forMs: Math.round(now - at) }))
      .slice(-MAX_NAMED);
  }
}
