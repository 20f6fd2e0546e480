import { CairnError, type CancelTimer, Semaphore, startTimer, withTimeout } from "@cairn/kv";
import { Inbox, receiveError, ThreadModule } from "@cairn/kv/threads";
import type { Position } from "@cairn/client";
import type { Worker } from "node:worker_threads";
import type { ServedIndex } from "./own-index.ts";
import type { OptionalOperation, ThreadMessage, ThreadRequest } from "./own-index-worker.ts";
import type { FedBatch } from "./state-feed.ts";

const MODULE = new ThreadModule(import.meta.url, "own-index-worker");
/** How long an index may take for a request, or for a part of its build (ms). */
const STALL_MS = 300_000;
/** How long it may take to close (ms). A node must stop within 10 s. */
const CLOSE_MS = 3_000;

type Answer = Extract<ThreadMessage, { answer: unknown }>["answer"];

interface Pending {
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: unknown) => void;
  readonly onBuilt: ((documents: number) => void) | undefined;
}

/** An index of one's own that is open in its thread. After an error, nothing but `close` works. */
export class IndexThread {
  readonly #worker: Worker;
  readonly #exited: Promise<unknown>;
  readonly #pending: Pending[] = [];
  readonly #onNotice: (sentence: string) => void;
  /** Files that are being copied must not be purged. */
  readonly #alone = new Semaphore(1);
  #onCopied: (error: Error | undefined) => void = () => undefined;
  #failure: Error | undefined;
  #closing: Promise<void> | undefined;
  #cancelStall: CancelTimer | undefined;
  /** What the files contained when the index was opened; undefined if they are new. */
  position: Position | undefined;
  can: ReadonlySet<OptionalOperation> = new Set();

  private constructor(served: ServedIndex, onNotice: (sentence: string) => void) {
    this.#onNotice = onNotice;
    const sent = new Inbox<ThreadMessage>();
    this.#worker = MODULE.start(served, sent);
    this.#exited = new Promise((resolve) => this.#worker.once("exit", resolve));
    void this.#exited.then(() => sent.fail(MODULE.failure()));
    void this.#receive(sent);
  }

  /** Imports the module in a new thread, which is closed once the signal is aborted. Throws what the module throws. */
  static async start(
    served: ServedIndex,
    onNotice: (sentence: string) => void,
    signal: AbortSignal,
  ): Promise<IndexThread> {
    signal.throwIfAborted();
    const thread = new IndexThread(served, onNotice);
    const end = (): void => void thread.close();
    signal.addEventListener("abort", end);
    void thread.#exited.then(() => signal.removeEventListener("abort", end));
    try {
      await thread.#answered();
      return thread;
    } catch (error) {
      await thread.close();
      throw error;
    }
  }

  /** Builds the index from a copy of the node's index in `dir`, and returns its position. */
  async build(
    dir: string,
    buckets: readonly string[] | undefined,
    onBuilt: (documents: number) => void,
  ): Promise<Position> {
    const position = await this.#request({ op: "build", dir, buckets }, [], onBuilt);
    if (position === undefined) throw new Error("the build was ended");
    return position as Position;
  }

  async apply(batch: FedBatch): Promise<void> {
    await this.#request(
      { op: "apply", batch },
      batch.rows.map((rows) => rows.buffer),
    );
  }

  /**
   * Copies the files of the index, after it has been purged if `purge` is true. Batches are applied meanwhile. Returns
   * false if it did nothing, because batches that belong together were being applied.
   */
  async capture(dir: string, purge: boolean): Promise<boolean> {
    return await this.#alone.run(async () => {
      const copied = new Promise<void>((resolve, reject) => {
        this.#onCopied = (error) => (error === undefined ? resolve() : reject(error));
      });
      copied.catch(() => undefined);
      if ((await this.#request({ op: "capture", dir, purge })) === false) return false;
      await copied;
      return true;
    });
  }

  /** Returns false if it did nothing, like {@link capture}. */
  async purge(): Promise<boolean> {
    return await this.#alone.run(async () => (await this.#request({ op: "purge" })) !== false);
  }

  async digest(): Promise<string | undefined> {
    return (await this.#request({ op: "digest" })) as string | undefined;
  }

  /** Ends the thread, if need be in the middle of its work. May be called twice. */
  async close(): Promise<void> {
    await (this.#closing ??= this.#close());
  }

  async #close(): Promise<void> {
    this.#worker.postMessage({ op: "close" } satisfies ThreadRequest, []);
    await withTimeout(this.#exited, CLOSE_MS);
    // Native code may not be interruptible. It then ends with the process, and nothing waits for it.
    void this.#worker.terminate();
    this.#fail(new Error("the index was closed"));
  }

  async #request(
    request: ThreadRequest,
    transferList: ArrayBuffer[] = [],
    onBuilt?: (documents: number) => void,
  ): Promise<Answer> {
    if (this.#failure !== undefined) throw this.#failure;
    this.#worker.postMessage(request, transferList);
    return await this.#answered(onBuilt);
  }

  async #answered(onBuilt?: (documents: number) => void): Promise<Answer> {
    return await new Promise((resolve, reject) => {
      this.#pending.push({ resolve, reject, onBuilt });
      if (this.#pending.length === 1) this.#awaitMessage();
    });
  }

  async #receive(sent: Inbox<ThreadMessage>): Promise<void> {
    try {
      for (;;) {
        const message = await sent.take();
        if ("failed" in message) throw receiveError(message.failed);
        const [first] = this.#pending;
        if ("notice" in message) {
          this.#onNotice(message.notice);
          continue;
        }
        if ("built" in message) first?.onBuilt?.(message.built);
        else if ("copied" in message) this.#onCopied(message.copied && receiveError(message.copied));
        else {
          this.#pending.shift();
          if ("opened" in message) {
            this.position = message.opened;
            this.can = new Set(message.can);
          }
          first?.resolve("answer" in message ? message.answer : undefined);
        }
        this.#awaitMessage();
      }
    } catch (error) {
      this.#fail(error instanceof Error ? error : new Error(String(error)));
    }
  }

  #awaitMessage(): void {
    this.#cancelStall?.();
    if (this.#pending.length === 0) return;
    this.#cancelStall = startTimer(STALL_MS, () => {
      this.#fail(new CairnError("INTERNAL", `The index has not answered for ${STALL_MS / 60_000} minutes.`));
    });
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    this.#cancelStall?.();
    for (const { reject } of this.#pending.splice(0)) reject(error);
    this.#onCopied(error);
  }
}
