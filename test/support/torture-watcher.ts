import { type IncomingMessage, request } from "node:http";
import type { ClientChange, Position } from "@cairn/client";
import { parsePosition } from "@cairn/text";
import { changeText, type WatchFilter } from "./watch-oracle.ts";

/** The events that a watcher received between a start and the point at which it could not resume. */
export interface WatchedSegment {
  readonly begin: Position;
  /** The position up to which everything was received. */
  position: Position;
  readonly seen: { readonly txId: number; readonly changes: readonly string[] }[];
  /**
   * The reason why the watch could not be resumed: the history up to `floor` was pruned, or the log lost transactions
   * that had been received.
   */
  ended: { readonly floor: Position } | "regressed" | undefined;
}

/** Options for a {@link TortureWatcher}. */
export interface TortureWatcherOptions extends WatchFilter {
  readonly from: Position | undefined;
  /** Returns a number in [0, 1). */
  readonly random: () => number;
  /** The current addresses of the nodes, including those that are down. */
  readonly urls: () => readonly string[];
}

/** An event of a watch, as a node sends it. */
export interface SentEvent {
  readonly event: string;
  readonly data: {
    readonly txId: number;
    readonly position: Position;
    readonly ahead?: boolean;
    readonly reason?: string;
    readonly changes?: readonly ClientChange[];
  };
}

const RETRY_MS = 20;

/** A watcher that disconnects, pauses and changes nodes at random, and records what it receives. */
export class TortureWatcher {
  readonly segments: WatchedSegment[] = [];
  readonly filter: WatchFilter;
  /** The number of times that the watcher was cut off, by reason. */
  readonly cutoffs = new Map<string, number>();
  connections = 0;
  readonly #options: TortureWatcherOptions;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;
  #calm = false;

  constructor(options: TortureWatcherOptions) {
    const { bucket, namespace } = options;
    this.filter = {
      ...(bucket === undefined ? {} : { bucket }),
      ...(namespace === undefined ? {} : { namespace }),
    };
    this.#options = options;
    this.#running = this.#run();
    this.#running.catch(() => {});
  }

  /** The position up to which the watcher has received everything, unless it cannot resume there. */
  get position(): Position | undefined {
    return this.#segment()?.position;
  }

  /** Stops disconnecting and pausing. */
  calm(): void {
    this.#calm = true;
  }

  async finish(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { from } = this.#options;
    if (from !== undefined) this.#begin(from);
    while (!this.#stop.signal.aborted) {
      const urls = this.#options.urls();
      const url = urls[Math.floor(this.#options.random() * urls.length)];
      const response = url === undefined ? undefined : await this.#open(url);
      if (response?.statusCode === 200) {
        this.connections += 1;
        await this.#read(response);
      } else {
        if (response !== undefined) await this.#handleRefusal(response);
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
    }
  }

  async #open(url: string): Promise<IncomingMessage | undefined> {
    const query = new URLSearchParams({ ...this.filter, heartbeat: "PT0.2S" });
    const segment = this.#segment();
    if (segment !== undefined) query.set("from", segment.position);
    return await openWatch(url, query, this.#stop.signal);
  }

  #begin(begin: Position): WatchedSegment {
    const segment: WatchedSegment = { begin, position: begin, seen: [], ended: undefined };
    this.segments.push(segment);
    return segment;
  }

  #segment(): WatchedSegment | undefined {
    const last = this.segments.at(-1);
    return last?.ended === undefined ? last : undefined;
  }

  async #handleRefusal(response: IncomingMessage): Promise<void> {
    const body = await readText(response);
    if (response.statusCode === 503 || body === undefined) return;
    if (response.statusCode !== 410)
      throw new Error(`a watch was answered with ${response.statusCode}: ${body}`);
    const { floor, reason } = JSON.parse(body) as { floor: Position; reason: "compacted" | "regressed" };
    this.#end(reason === "regressed" ? reason : { floor });
  }

  /** Ends the segment. The next connection watches from the current position, as a client does after a list. */
  #end(why: NonNullable<WatchedSegment["ended"]>): void {
    const segment = this.#segment();
    if (segment === undefined)
      throw new Error("a watch without `from` was answered as one that cannot resume");
    segment.ended = why;
  }

  async #read(response: IncomingMessage): Promise<void> {
    const { random } = this.#options;
    const maxEvents = this.#calm ? Infinity : Math.floor(random() * 400);
    let received = 0;
    for await (const event of watchEvents(response)) {
      if (event.event === "cutoff") {
        this.#cutOff(event.data);
        return;
      }
      this.#record(event);
      received += 1;
      if (this.#stop.signal.aborted || (!this.#calm && received >= maxEvents)) {
        response.destroy();
        return;
      }
      // The watcher pauses while events are in transit.
      if (!this.#calm && random() < 0.005)
        await new Promise((resolve) => setTimeout(resolve, random() * 500));
    }
  }

  #cutOff({ position, reason = "" }: SentEvent["data"]): void {
    this.cutoffs.set(reason, (this.cutoffs.get(reason) ?? 0) + 1);
    if (reason === "regressed") {
      this.#end("regressed");
      return;
    }
    const segment = this.#segment();
    if (segment === undefined || txIdOf(position) < txIdOf(segment.position)) {
      throw new Error(`cut off at ${position}, which is before ${segment?.position}`);
    }
    segment.position = position;
  }

  #record({ event, data: { txId, position, ahead, changes = [] } }: SentEvent): void {
    if (ahead === true) return;
    const segment = this.#segment() ?? this.#begin(position);
    if (txId < txIdOf(segment.position)) throw new Error(`${event} ${txId} came after ${segment.position}`);
    if (event === "tx") {
      segment.seen.push({ txId, changes: changes.map(changeText) });
    }
    segment.position = position;
  }
}

function txIdOf(position: Position): number {
  return parsePosition(position, "position").txId;
}

/** Opens a watch. Returns undefined if the node does not respond. */
export async function openWatch(
  url: string,
  query: URLSearchParams,
  signal: AbortSignal,
): Promise<IncomingMessage | undefined> {
  return await new Promise((resolve) => {
    request(`${url}/api/v1/watch?${query.toString()}`, { agent: false, signal }, resolve)
      .once("error", () => resolve(undefined))
      .end();
  });
}

/** Yields the events of a watch until it ends or breaks. An incomplete event is dropped. */
export async function* watchEvents(response: IncomingMessage): AsyncGenerator<SentEvent, void> {
  let rest = "";
  response.setEncoding("utf8");
  const parts = (response as AsyncIterable<string>)[Symbol.asyncIterator]();
  for (;;) {
    const part = await parts.next().catch(() => undefined);
    if (part === undefined || part.done === true) return;
    const blocks = (rest + part.value).split("\n\n");
    rest = blocks.pop() ?? "";
    for (const block of blocks) {
      const event = /^event: (.*)$/m.exec(block)?.[1] ?? "";
      yield { event, data: JSON.parse(/^data: (.*)$/m.exec(block)?.[1] ?? "null") as SentEvent["data"] };
    }
  }
}

/** Returns the body of a response that refuses a watch; undefined if it breaks. */
export async function readText(response: IncomingMessage): Promise<string | undefined> {
  let text = "";
  response.setEncoding("utf8");
  try {
    for await (const part of response as AsyncIterable<string>) text += part;
  } catch {
    return undefined;
  }
  return text;
}
