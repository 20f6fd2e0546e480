import { readdirSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";

/** A checkpoint as it came up in the folder; times in milliseconds since 1970. */
export interface SeenCheckpoint {
  readonly name: string;
  readonly node: string;
  readonly txId: number;
  readonly bytes: number;
  readonly takenAt: number;
  readonly publishedAt: number;
}

/** A lease as it was in the folder; one that was renewed is the same one. */
export interface SeenLease {
  readonly owner: string;
  readonly nonce: string;
  readonly firstSeenAt: number;
  lastSeenAt: number;
}

const LOOK_EVERY_MS = 10;

/** What happens in a folder of checkpoints, seen from outside: also what retention has removed since. */
export class WatchedStore {
  readonly folder: string;
  readonly checkpoints = new Map<string, SeenCheckpoint>();
  readonly leases = new Map<string, SeenLease>();
  readonly #stop = new AbortController();
  readonly #watching: Promise<void>;

  constructor(folder: string) {
    this.folder = folder;
    this.#watching = this.#watch();
  }

  /** In the order in which they were taken. */
  inOrder(): SeenCheckpoint[] {
    return [...this.checkpoints.values()].toSorted((a, b) => a.takenAt - b.takenAt);
  }

  newest(): SeenCheckpoint | undefined {
    return this.inOrder().at(-1);
  }

  /** Who holds the lease at this instant. */
  owner(): string | undefined {
    return this.#lease()?.owner;
  }

  /** The unfinished upload in the folder whose size is at least `bytes`. */
  upload(bytes: number): { readonly name: string; readonly bytes: number } | undefined {
    for (const name of listed(this.folder)) {
      if (!/^\.tmp-[0-9a-f]{16}$/.test(name)) continue;
      const size = statSync(path.join(this.folder, name), { throwIfNoEntry: false })?.size ?? 0;
      if (size >= bytes) return { name, bytes: size };
    }
    return undefined;
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#watching;
  }

  async #watch(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      this.#look();
      await delay(LOOK_EVERY_MS);
    }
  }

  #look(): void {
    const lease = this.#lease();
    if (lease !== undefined) {
      const seen = this.leases.get(lease.nonce);
      if (seen === undefined)
        this.leases.set(lease.nonce, { ...lease, firstSeenAt: Date.now(), lastSeenAt: Date.now() });
      else seen.lastSeenAt = Date.now();
    }
    for (const file of listed(this.folder)) {
      const name = /^(checkpoint-.*Z-[0-9a-f]{8})\.json$/.exec(file)?.[1];
      if (name !== undefined && !this.checkpoints.has(name)) this.#remember(name);
    }
  }

  #remember(name: string): void {
    const file = path.join(this.folder, `${name}.json`);
    const publishedAt = statSync(file, { throwIfNoEntry: false })?.mtimeMs;
    const text = readIfThere(file);
    if (publishedAt === undefined || text === undefined) return;
    const { node, txId, takenAt, archive } = JSON.parse(text) as {
      node: string;
      txId: number;
      takenAt: string;
      archive: { bytes: number };
    };
    const { bytes } = archive;
    this.checkpoints.set(name, { name, node, txId, bytes, takenAt: Date.parse(takenAt), publishedAt });
  }

  #lease(): { owner: string; nonce: string } | undefined {
    // One log's nodes: there is one.
    const lease = listed(this.folder).find((name) => name.startsWith("in-progress-"));
    const text = lease === undefined ? undefined : readIfThere(path.join(this.folder, lease));
    if (text === undefined) return undefined;
    const { owner, nonce } = JSON.parse(text) as { owner: string; nonce: string };
    return { owner, nonce };
  }
}

/** Pairs of checkpoints of which one was taken before the other was published: two uploads at one time. */
export function overlaps(inOrder: readonly SeenCheckpoint[]): [SeenCheckpoint, SeenCheckpoint][] {
  return inOrder.flatMap((one, at) =>
    inOrder
      .slice(at + 1)
      .filter((other) => other.takenAt < one.publishedAt)
      .map((other): [SeenCheckpoint, SeenCheckpoint] => [one, other]),
  );
}

/** The times between one checkpoint and the next (ms). */
export function gapsOf(inOrder: readonly SeenCheckpoint[]): number[] {
  return inOrder.slice(1).map(({ takenAt }, at) => takenAt - (inOrder[at]?.takenAt ?? takenAt));
}

function listed(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    if (isAbsent(error)) return [];
    throw error;
  }
}

function readIfThere(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}

function isAbsent(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT";
}
