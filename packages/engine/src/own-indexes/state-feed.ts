import { type KvOperation, type KvReader, resolvable } from "@cairn/kv";
import type { Position, TxId } from "@cairn/client";
import { formatPosition, parsePosition } from "@cairn/text";
import type { IndexStore } from "../index/index-store.ts";
import type { IndexState } from "../index/rows/index-state.ts";
import { transactionAt } from "../index/read/transaction-changes.ts";
import { documentRowPrefix } from "../index/rows/row-keys.ts";
import {
  changedStates,
  keyStates,
  type StateChange,
  type StatesBounds,
  type StatesOfKeys,
} from "../index/read/states.ts";
import { pauseAfter } from "../watch/fair-reads.ts";
import { isState, packRows } from "./packed-rows.ts";

/** A batch for an index of one's own: `changes`, then the states in `rows` as {@link packRows} returns them. */
export interface FedBatch {
  readonly position: Position;
  readonly txId: TxId;
  readonly complete: boolean;
  readonly changes: readonly StateChange[];
  readonly rows: readonly Uint8Array<ArrayBuffer>[];
}

/**
 * Where a position is: in the history of the index, near enough to go on from it, or too far for that; or nowhere in
 * this history, as far as the index knows.
 */
type Standing = "near" | "far" | "unknown";

interface FeedOptions {
  /** Defaults to all. */
  readonly buckets?: readonly string[] | undefined;
  /** The number of bytes of applied rows that are kept for a slow reader. */
  readonly ringBytes?: number;
  /** The bounds of what is read from the index. */
  readonly bounds?: StatesBounds;
}

const BATCH_BYTES = 256 * 1024;
const RING_BYTES = 32 * 1024 * 1024;
/** The memory of an entry in addition to its rows, approximately. */
const ENTRY_BYTES = 256;

/** The removal of a shard's entries. */
interface Clear {
  readonly op: "clear";
  readonly bucket: string;
  readonly namespace: string;
}

/** What one batch of the index changed: the clears come first. */
interface Entry {
  readonly state: IndexState;
  readonly clears: readonly Clear[];
  readonly rows: Uint8Array<ArrayBuffer> | undefined;
  readonly bytes: number;
}

/**
 * The exact states of documents after a position: the rows that the index applies, as they are applied, and where these
 * are not kept, the states of the keys that transactions changed, read from the index. Neither needs history. It belongs
 * to one open index.
 */
export class StateFeed {
  readonly #index: IndexStore;
  readonly #buckets: readonly Buffer[] | undefined;
  readonly #options: FeedOptions;
  readonly #entries: Entry[] = [];
  #bytes = 0;
  /** The transaction after which all applied rows are kept; undefined if they are not. */
  #keptAfter: TxId | undefined;
  #more = resolvable();

  constructor(index: IndexStore, options: FeedOptions = {}) {
    this.#index = index;
    this.#options = options;
    this.#buckets = options.buckets?.map((bucket) => documentRowPrefix(bucket));
  }

  async standing(position: Position): Promise<Standing> {
    const { txId } = parsePosition(position, "position");
    return await this.#index.ask(async (rows, state) => {
      if (txId > state.txId) return "unknown";
      if (txId > 0 && (await transactionAt(rows, txId))?.position !== position) return "unknown";
      // To build anew takes less than to read the states of more keys than there are.
      return state.txId - txId <= Math.max(state.documents, MANY_TRANSACTIONS) ? "near" : "far";
    });
  }

  /**
   * Yields batches that lead from a position to the present, and goes on until the signal is aborted. Calls `onLive`
   * when nothing is left to read from the index. Throws `WATCH_COMPACTED` if the index cannot tell what changed.
   */
  async *after(
    position: Position,
    signal: AbortSignal,
    onLive: (isLive: boolean) => void = () => {},
  ): AsyncGenerator<FedBatch, void, void> {
    let at = parsePosition(position, "position").txId;
    this.#index.onApplied.add(this.#keep);
    const wake = (): void => this.#more.resolve();
    signal.addEventListener("abort", wake);
    try {
      while (!signal.aborted) {
        if (this.#keptAfter === undefined || at < this.#keptAfter) {
          onLive(false);
          this.#restart();
          for await (const batch of this.#read(at, signal)) {
            yield batch;
            if (batch.complete) at = batch.txId;
          }
          continue;
        }
        onLive(true);
        const batch = this.#take(at);
        if (batch === undefined) {
          await this.#more.promise;
          continue;
        }
        yield batch;
        at = batch.txId;
      }
    } finally {
      signal.removeEventListener("abort", wake);
      this.#index.onApplied.delete(this.#keep);
      this.#drop();
    }
  }

  #restart(): void {
    this.#drop();
    this.#keptAfter = this.#index.state.txId;
  }

  #drop(): void {
    this.#entries.length = 0;
    this.#bytes = 0;
    this.#keptAfter = undefined;
  }

  readonly #keep = (rows: readonly KvOperation[], state: IndexState, before: IndexState): void => {
    if (this.#keptAfter === undefined) return;
    const clears = retiredIn(state, before);
    const gone = clears.map(({ bucket, namespace }) => documentRowPrefix(bucket, namespace));
    const own = rows.filter(
      (row) =>
        isState(row) && this.#isFollowed(row.key) && !gone.some((prefix) => startsWith(row.key, prefix)),
    );
    const packed = own.length === 0 ? undefined : packRows(own);
    const bytes = ENTRY_BYTES + (packed?.length ?? 0);
    this.#bytes += bytes;
    if (this.#bytes > (this.#options.ringBytes ?? RING_BYTES)) this.#drop();
    else this.#entries.push({ state, clears, rows: packed, bytes });
    this.#more.resolve();
  };

  #isFollowed(rowKey: Uint8Array): boolean {
    return this.#buckets?.some((prefix) => startsWith(rowKey, prefix)) ?? true;
  }

  /** Takes kept rows after a transaction; undefined if there are none yet. */
  #take(at: TxId): FedBatch | undefined {
    this.#more = resolvable();
    let bytes = 0;
    let count = 0;
    const wanted: Entry[] = [];
    for (const entry of this.#entries) {
      const isWanted = entry.state.txId > at;
      // A batch has its clears before its states.
      if (bytes >= BATCH_BYTES || (isWanted && entry.clears.length > 0 && wanted.length > 0)) break;
      count += 1;
      this.#bytes -= entry.bytes;
      if (!isWanted) continue;
      wanted.push(entry);
      bytes += entry.bytes;
    }
    this.#entries.splice(0, count);
    const last = wanted.at(-1);
    if (last === undefined) return undefined;
    this.#keptAfter = last.state.txId;
    return {
      ...placeOf(last.state),
      complete: true,
      changes: wanted.flatMap(({ clears }) => clears),
      rows: wanted.flatMap(({ rows }) => rows ?? []),
    };
  }

  /** Reads the states of the keys that changed after a transaction, up to the end of the index. */
  async *#read(begin: TxId, signal: AbortSignal): AsyncGenerator<FedBatch, void, void> {
    const [only, ...others] = this.#options.buckets ?? [];
    const filter = others.length === 0 ? { bucket: only } : {};
    const { bounds } = this.#options;
    let after = begin;
    while (!signal.aborted) {
      const { state, page } = await this.#ask(async (rows, now) => ({
        state: now,
        page: await changedStates(rows, now, filter, after, bounds),
      }));
      let part: StatesOfKeys = page;
      let whole = page.isEnd;
      while (part.rest.length > 0 && !signal.aborted) {
        yield this.#batchOf(part, state, false);
        const { rest } = part;
        // What is read later may be newer than the position.
        whole = false;
        part = await this.#ask((rows, now) => keyStates(rows, now, rest, bounds));
      }
      if (signal.aborted) return;
      after = page.end?.txId ?? after;
      yield this.#batchOf(part, state, whole);
      if (whole) return;
    }
  }

  async #ask<T>(read: (rows: KvReader, state: IndexState) => Promise<T>): Promise<T> {
    const begunAt = performance.now();
    const { txId } = this.#index.state;
    const answer = await this.#index.ask(read);
    // While messages are being indexed, most of the thread is left to them.
    if (this.#index.state.txId !== txId) await pauseAfter(performance.now() - begunAt);
    return answer;
  }

  #batchOf({ changes }: StatesOfKeys, state: IndexState, complete: boolean): FedBatch {
    const { buckets } = this.#options;
    const wanted =
      buckets === undefined
        ? changes
        : changes.filter(({ bucket }) => bucket === undefined || buckets.includes(bucket));
    return { ...placeOf(state), complete, changes: wanted, rows: [] };
  }
}

/** So many transactions are read in about a second. */
const MANY_TRANSACTIONS = 50_000;

function placeOf({ txId, mark }: IndexState): Pick<FedBatch, "position" | "txId"> {
  return { txId, position: formatPosition({ txId, mark }) };
}

/** The shards that a batch retired are empty for readers from then on, and their rows are removed later. */
function retiredIn({ retiring = [] }: IndexState, before: IndexState): readonly Clear[] {
  const known = new Set(before.retiring?.map(({ queue, shard }) => `${queue} ${shard}`));
  return retiring.flatMap(({ queue, shard }) =>
    known.has(`${queue} ${shard}`) ? [] : [{ op: "clear", bucket: queue, namespace: String(shard) } as const],
  );
}

function startsWith(bytes: Uint8Array, prefix: Uint8Array): boolean {
  return bytes.length >= prefix.length && Buffer.compare(bytes.subarray(0, prefix.length), prefix) === 0;
}
