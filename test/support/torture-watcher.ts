import { type IncomingMessage, request } from "node:http";

/** What a watcher was told from where it began, until it had to begin anew. */
export interface WatchedSegment {
  readonly from: number;
  /** Everything up to here was told. */
  place: number;
  placeTime: string | null;
  readonly seen: { readonly txId: number; readonly changes: readonly string[] }[];
  /** Why there was no going on: the history from there is gone (as far as the floor), or the log lost what was told. */
  ended: { readonly floor: number } | "regressed" | undefined;
}

/** Which changes a watcher asks for. */
export interface WatchedPart {
  readonly bucket?: string;
  readonly namespace?: string;
}

/** How badly a watcher behaves; `random` is between 0 and 1. */
export interface TortureWatcherOptions extends WatchedPart {
  readonly from: number | undefined;
  readonly random: () => number;
  /** The addresses of the nodes as they are now; those that are down among them. */
  readonly urls: () => readonly string[];
}

interface SentEvent {
  readonly event: string;
  readonly data: {
    readonly txId: number;
    readonly txTime: string | null;
    readonly ahead?: boolean;
    readonly reason?: string;
    readonly changes?: readonly {
      readonly op: string;
      readonly bucket: string;
      readonly namespace: string;
      readonly name: string;
      readonly document?: unknown;
    }[];
  };
}

const RETRY_MS = 20;

/** A watcher that disconnects, stands still and changes nodes as it likes, and keeps what it was told. */
export class TortureWatcher {
  readonly segments: WatchedSegment[] = [];
  readonly part: WatchedPart;
  /** How often it was cut off, by reason. */
  readonly cutoffs = new Map<string, number>();
  connections = 0;
  readonly #options: TortureWatcherOptions;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;
  #calm = false;

  constructor(options: TortureWatcherOptions) {
    const { bucket, namespace } = options;
    this.part = {
      ...(bucket === undefined ? {} : { bucket }),
      ...(namespace === undefined ? {} : { namespace }),
    };
    this.#options = options;
    this.#running = this.#run();
    this.#running.catch(() => {});
  }

  get place(): number {
    return this.segments.at(-1)?.place ?? -1;
  }

  /** Behaves from now on. */
  calm(): void {
    this.#calm = true;
  }

  async finish(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { from } = this.#options;
    if (from !== undefined)
      this.segments.push({ from, place: from, placeTime: null, seen: [], ended: undefined });
    while (!this.#stop.signal.aborted) {
      const urls = this.#options.urls();
      const url = urls[Math.floor(this.#options.random() * urls.length)];
      const response = url === undefined ? undefined : await this.#open(url);
      if (response?.statusCode === 200) {
        this.connections += 1;
        await this.#read(response);
      } else {
        if (response !== undefined) await this.#refused(response);
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
    }
  }

  /** Undefined where nobody answers. */
  async #open(url: string): Promise<IncomingMessage | undefined> {
    const query = new URLSearchParams({ ...this.part, heartbeat: "PT0.2S" });
    const segment = this.#segment();
    if (segment !== undefined) query.set("from", String(segment.place));
    if (segment?.placeTime !== null && segment !== undefined) query.set("from-time", segment.placeTime);
    return await new Promise((resolve) => {
      const { signal } = this.#stop;
      request(`${url}/api/v1/watch?${query.toString()}`, { agent: false, signal }, resolve)
        .once("error", () => resolve(undefined))
        .end();
    });
  }

  #segment(): WatchedSegment | undefined {
    const last = this.segments.at(-1);
    return last?.ended === undefined ? last : undefined;
  }

  async #refused(response: IncomingMessage): Promise<void> {
    const body = await readText(response);
    if (response.statusCode === 503 || body === undefined) return;
    if (response.statusCode !== 410)
      throw new Error(`a watch was answered with ${response.statusCode}: ${body}`);
    const { floor, reason } = JSON.parse(body) as { floor: number; reason: "compacted" | "regressed" };
    this.#end(reason === "regressed" ? reason : { floor });
  }

  /** There is no going on: from now on, as if after a list. */
  #end(why: NonNullable<WatchedSegment["ended"]>): void {
    const segment = this.#segment();
    if (segment === undefined) throw new Error("a watch from now on was said to be compacted");
    segment.ended = why;
  }

  async #read(response: IncomingMessage): Promise<void> {
    const { random } = this.#options;
    const most = this.#calm ? Infinity : Math.floor(random() * 400);
    let told = 0;
    for await (const event of events(response)) {
      if (event.event === "cutoff") {
        this.#cutOff(event.data);
        return;
      }
      this.#note(event);
      told += 1;
      if (this.#stop.signal.aborted || (!this.#calm && told >= most)) {
        response.destroy();
        return;
      }
      // Stands still, with whatever is on its way.
      if (!this.#calm && random() < 0.005)
        await new Promise((resolve) => setTimeout(resolve, random() * 500));
    }
  }

  #cutOff({ txId, txTime, reason = "" }: SentEvent["data"]): void {
    this.cutoffs.set(reason, (this.cutoffs.get(reason) ?? 0) + 1);
    if (reason === "regressed") {
      this.#end("regressed");
      return;
    }
    const segment = this.#segment();
    if (segment === undefined || txId < segment.place) {
      throw new Error(`cut off at ${txId}, which is before ${segment?.place}`);
    }
    segment.place = txId;
    segment.placeTime = txTime ?? segment.placeTime;
  }

  #note({ event, data: { txId, txTime, ahead, changes = [] } }: SentEvent): void {
    if (ahead === true) return;
    let segment = this.#segment();
    if (segment === undefined) {
      segment = { from: txId, place: txId, placeTime: txTime, seen: [], ended: undefined };
      this.segments.push(segment);
    }
    if (txId < segment.place) throw new Error(`${event} ${txId} came after ${segment.place}`);
    if (event === "tx") {
      const told = changes.map(({ op, bucket, namespace, name, document }) =>
        [op, bucket, `${namespace}/${name}`, ...(op === "put" ? [JSON.stringify(document)] : [])].join(" "),
      );
      segment.seen.push({ txId, changes: told });
    }
    segment.place = txId;
    segment.placeTime = txTime;
  }
}

/** The events of a stream until it ends or breaks off; half an event is none. */
async function* events(response: IncomingMessage): AsyncGenerator<SentEvent, void> {
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

async function readText(response: IncomingMessage): Promise<string | undefined> {
  let text = "";
  response.setEncoding("utf8");
  try {
    for await (const part of response as AsyncIterable<string>) text += part;
  } catch {
    return undefined;
  }
  return text;
}
