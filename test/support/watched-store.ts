import { readdirSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";

/** A checkpoint that appeared in the folder; times in milliseconds since 1970. */
export interface SeenCheckpoint {
  readonly name: string;
  readonly node: string;
  readonly txId: number;
  readonly bytes: number;
  readonly takenAt: number;
  readonly publishedAt: number;
}

const POLL_MS = 10;

/** Records from outside what happens in a folder of checkpoints, including those that retention has removed since. */
export class WatchedStore {
  readonly folder: string;
  readonly checkpoints = new Map<string, SeenCheckpoint>();
  /** The nonces of all leases; a renewed lease keeps its nonce. */
  readonly leases = new Set<string>();
  readonly #stop = new AbortController();
  readonly #watching: Promise<void>;

  constructor(folder: string) {
    this.folder = folder;
    this.#watching = this.#watch();
  }

  /** Returns the checkpoints in the order in which they were taken. */
  inOrder(): SeenCheckpoint[] {
    return [...this.checkpoints.values()].toSorted((a, b) => a.takenAt - b.takenAt);
  }

  newest(): SeenCheckpoint | undefined {
    return this.inOrder().at(-1);
  }

  /** Returns the id of the node that holds the lease now. */
  owner(): string | undefined {
    return readLease(this.folder)?.owner;
  }

  /** Returns the unfinished upload in the folder if it has at least `bytes`. */
  upload(bytes: number): { readonly name: string; readonly bytes: number } | undefined {
    for (const name of listFolder(this.folder)) {
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
      this.#poll();
      await delay(POLL_MS);
    }
  }

  #poll(): void {
    const lease = readLease(this.folder);
    if (lease !== undefined) this.leases.add(lease.nonce);
    for (const file of listFolder(this.folder)) {
      const name = /^(checkpoint-.*Z-[0-9a-f]{8})\.json$/.exec(file)?.[1];
      if (name !== undefined && !this.checkpoints.has(name)) this.#remember(name);
    }
  }

  #remember(name: string): void {
    const file = path.join(this.folder, `${name}.json`);
    const publishedAt = statSync(file, { throwIfNoEntry: false })?.mtimeMs;
    const text = readIfPresent(file);
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
}

/** Returns the pairs of checkpoints whose uploads overlapped: one was taken before the other was published. */
export function overlaps(inOrder: readonly SeenCheckpoint[]): [SeenCheckpoint, SeenCheckpoint][] {
  return inOrder.flatMap((one, at) =>
    inOrder
      .slice(at + 1)
      .filter((other) => other.takenAt < one.publishedAt)
      .map((other): [SeenCheckpoint, SeenCheckpoint] => [one, other]),
  );
}

/** Returns the times between consecutive checkpoints (ms). */
export function gapsOf(inOrder: readonly SeenCheckpoint[]): number[] {
  return inOrder.slice(1).map(({ takenAt }, at) => takenAt - (inOrder[at]?.takenAt ?? takenAt));
}

/** Returns the lease in a store that the nodes of a single log use. */
export function readLease(folder: string): { owner: string; nonce: string; expiresAt: string } | undefined {
  const lease = listFolder(folder).find((name) => name.startsWith("in-progress-"));
  const text = lease === undefined ? undefined : readIfPresent(path.join(folder, lease));
  return text === undefined
    ? undefined
    : (JSON.parse(text) as { owner: string; nonce: string; expiresAt: string });
}

/** Returns the name of the archive of the newest checkpoint in a store. Names are compared by transaction id, not as strings. */
export function newestArchive(folder: string): string {
  const archives = listFolder(folder).filter((name) => name.endsWith(".tar"));
  return archives.toSorted((a, b) => txIdOf(b) - txIdOf(a))[0] ?? "";
}

/** Returns the names in a folder; none if it does not exist. */
export function listFolder(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    if (isAbsent(error)) return [];
    throw error;
  }
}

/** Returns the transaction id in a name like checkpoint-43-…. */
function txIdOf(name: string): number {
  return Number(name.split("-")[1]);
}

function readIfPresent(file: string): string | undefined {
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
