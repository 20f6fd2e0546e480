import type { Bucket } from "@cairn/client";

export interface Flag {
  readonly enabled: boolean;
  /** The percentage of tenants for which the flag is on. */
  readonly rollout?: number;
  readonly tenants?: readonly string[];
}

/** Feature flags: every instance keeps all of them in memory, and evaluates them without waiting. */
export class Flags implements AsyncDisposable {
  readonly #bucket: Bucket<Flag>;
  readonly #abort = new AbortController();
  #flags = new Map<string, Flag>();
  #following: Promise<void> = Promise.resolve();
  /** How old the newest change was when it arrived (ms). */
  lag = 0;
  onChange: (key: string, flag: Flag | undefined) => void = () => {};

  constructor(bucket: Bucket<Flag>) {
    this.#bucket = bucket;
  }

  /** Resolves once all flags are known. */
  async start(): Promise<this> {
    await new Promise<void>((resolve, reject) => {
      this.#following = this.#follow(resolve).catch(reject);
    });
    return this;
  }

  async #follow(onComplete: () => void): Promise<void> {
    // While the flags are read anew, the previous ones stay in use.
    let flags = this.#flags;
    for await (const { changes, complete, txTime } of this.#bucket.follow({ signal: this.#abort.signal })) {
      for (const change of changes) {
        if (change.op === "clear") {
          flags = new Map();
          continue;
        }
        if (change.op === "put") flags.set(change.name, change.document);
        else flags.delete(change.name);
        this.onChange(change.name, change.document);
      }
      if (!complete || txTime === null) continue;
      this.lag = Date.now() - Date.parse(txTime);
      this.#flags = flags;
      onComplete();
    }
  }

  isOn(key: string, tenant: string): boolean {
    const { enabled = false, tenants, rollout = 100 } = this.#flags.get(key) ?? {};
    if (!enabled || tenants?.includes(tenant) === false) return false;
    let hash = 0;
    for (const character of key + tenant) hash = (hash * 31 + (character.codePointAt(0) ?? 0)) >>> 0;
    return hash % 100 < rollout;
  }

  /** Changes a flag, on top of the changes that other instances make at the same time. */
  async set(key: string, change: (old: Flag | undefined) => Flag): Promise<void> {
    await this.#bucket.update(key, change);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort.abort();
    await this.#following;
  }
}
