import { CairnClient, CairnClientError, type Position } from "@cairn/client";
import { setTimeout as delay } from "node:timers/promises";
import { changeText, type ExpectedTransaction, type WatchFilter } from "@cairn/test-support/watch-oracle";

const RETRY_MS = 20;

/** What a follower received from a start up to the place where it stopped or could not resume. */
export interface FollowedSegment {
  readonly begin: Position;
  position: Position;
  readonly seen: ExpectedTransaction[];
  /** Which log refused the position, if it did. */
  refusedBy: number | undefined;
}

export interface FollowerOptions {
  readonly url: string;
  readonly filter: WatchFilter;
  readonly random: () => number;
  /** Called with each position that is reached. */
  readonly keep: (position: Position) => void;
  /** Returns a stored position, which the log may have lost; undefined for the current one. */
  readonly stored: () => Position | undefined;
  /** The number of times that the log has been replaced. */
  readonly log: () => number;
}

/** A program that watches with a client, stops at random, and resumes at its last position or at a stored one. */
export class ClientFollower {
  readonly segments: FollowedSegment[] = [];
  readonly #options: FollowerOptions;
  readonly #client: CairnClient;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;
  #segment: FollowedSegment | undefined;
  #isCalm = false;

  constructor(options: FollowerOptions) {
    this.#options = options;
    this.#client = new CairnClient({ urls: options.url, fetch: withShortHeartbeats });
    this.#running = this.#run();
    this.#running.catch(() => {});
  }

  get position(): Position | undefined {
    return this.#segment?.position;
  }

  /** Resumes only at the last position from now on. */
  calm(): void {
    this.#isCalm = true;
  }

  async finish(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { stored, log } = this.#options;
    const begin = stored();
    if (begin !== undefined) this.#reached(begin);
    while (!this.#stop.signal.aborted) {
      try {
        await this.#watch();
      } catch (error) {
        if (!(error instanceof CairnClientError)) throw error;
        if (error.code === "WATCH_COMPACTED") {
          if (this.#segment === undefined) throw error;
          this.#segment.refusedBy = log();
          this.#leave();
        } else if (error.code !== "UNREACHABLE" && error.code !== "NOT_READY") throw error;
        await delay(RETRY_MS);
      }
    }
  }

  async #watch(): Promise<void> {
    const { random, filter } = this.#options;
    const from = this.#segment?.position;
    const query = {
      ...filter,
      ...(from === undefined ? {} : { from }),
      signal: this.#stop.signal,
      onPosition: (position: Position) => void this.#reached(position),
    };
    for await (const { txId, changes, position } of this.#client.watch(query)) {
      this.#reached(position).seen.push({ txId, changes: changes.map(changeText) });
      if (this.#isCalm || random() > 0.02) continue;
      if (random() < 0.3) this.#leave();
      return;
    }
  }

  /** Ends the segment. The next one begins at a stored position or, if the follower must calm down, the current one. */
  #leave(): void {
    this.#segment = undefined;
    const next = this.#isCalm ? undefined : this.#options.stored();
    if (next !== undefined) this.#reached(next);
  }

  #reached(position: Position): FollowedSegment {
    if (this.#segment === undefined) {
      this.#segment = { begin: position, position, seen: [], refusedBy: undefined };
      this.segments.push(this.#segment);
    }
    this.#segment.position = position;
    this.#options.keep(position);
    return this.#segment;
  }
}

/** A node compares a position that it has not reached with the end of the log after each heartbeat. */
const withShortHeartbeats: typeof fetch = (input, init) => {
  const url = new URL(String(input));
  if (url.pathname.endsWith("/watch")) url.searchParams.set("heartbeat", "PT0.2S");
  return fetch(url, init);
};
