/** A committed transaction with operations on the queue, as the log contains it. */
export interface QueueTransaction {
  readonly txId: number;
  /** The time of the transaction (ms since 1970). */
  readonly time: number;
  /** The operations on the queue, without its name. */
  readonly ops: readonly QueueOperation[];
  /** The documents of the operations `put` and `enqueue`, in order. */
  readonly documents: readonly string[];
  /** The shards into which entries were enqueued, in order. */
  readonly shards: readonly number[];
}

type Taking = readonly ["claim" | "drain", shard: number, options: { readonly as: string }];
/** An epoch, or a map of an epoch and who holds the shard. */
type Hold = number | { readonly epoch: number; readonly as?: string };
type Holding = readonly ["renew" | "release" | "retire", shard: number, hold: Hold];
type Put = readonly ["put", key: string, options?: Exclude<Hold, number>];
type Move = readonly ["move", key: string, toShard: number, hold: Hold];

/** An operation of the log. The documents of puts and enqueues are not part of it. */
export type QueueOperation =
  | Taking
  | Holding
  | Put
  | Move
  | readonly ["enqueue", name: string]
  | readonly ["match", key: string, revision: number | null];

interface Holder {
  readonly as: string;
  readonly epoch: number;
  readonly isDrainer: boolean;
  until: number;
}

interface Place {
  shard: number;
  isOpen: boolean;
}

const FINISHED: ReadonlySet<unknown> = new Set(["delivered", "discarded"]);

/**
 * Who held which shard, and which entries were open in it, after each transaction of a log. It shares no code with the
 * nodes, and does not decide what commits: it reports committed transactions that the rules forbid.
 */
export class ShardLedger {
  /** Each operation that should not have been committed, as a sentence. */
  readonly violations: string[] = [];
  /** How often each entry was finished. */
  readonly finished = new Map<string, number>();
  /** The number of committed operations of each kind; `takeover` counts claims and drains after the end of a lease. */
  readonly counts = new Map<string, number>();
  readonly #leaseMs: number;
  readonly #holders = new Map<number, Holder>();
  readonly #places = new Map<string, Place>();

  constructor(leaseMs: number) {
    this.#leaseMs = leaseMs;
  }

  /** The names of all open entries. */
  get open(): string[] {
    return [...this.#places].filter(([, { isOpen }]) => isOpen).map(([name]) => name);
  }

  apply({ ops, documents, shards, ...tx }: QueueTransaction): void {
    const [unread, chosen] = [[...documents], [...shards]];
    for (const op of ops) {
      this.#count(op[0]);
      if (op[0] === "claim" || op[0] === "drain") this.#take(op, tx);
      else if (op[0] === "renew" || op[0] === "release" || op[0] === "retire") this.#hold(op, tx);
      else if (op[0] === "enqueue") this.#add(op[1], chosen.shift(), unread.shift());
      else if (op[0] === "put") this.#put(op, unread.shift(), tx.txId);
      else if (op[0] === "move") this.#move(op, tx.txId);
    }
  }

  #take([kind, shard, { as }]: Taking, { txId, time }: Pick<QueueTransaction, "txId" | "time">): void {
    const isDrainer = kind === "drain";
    // A drain fences the shard's director off, but it needs the queue's only place for a drainer.
    const rivals = isDrainer
      ? [...this.#holders].filter(([, holder]) => holder.isDrainer)
      : [...this.#holders].filter(([held]) => held === shard);
    for (const [held, rival] of rivals) {
      if (rival.until > time)
        this.#violated(txId, `${kind} of shard ${shard}, while ${rival.as} held shard ${held}`);
      else this.#count("takeover");
      this.#holders.delete(held);
    }
    this.#holders.set(shard, { as, epoch: txId, isDrainer, until: time + this.#leaseMs });
  }

  #hold([kind, shard, hold]: Holding, { txId, time }: Pick<QueueTransaction, "txId" | "time">): void {
    const holder = this.#checkedHolder(shard, hold, txId, kind);
    if (kind === "renew") {
      if (holder !== undefined) holder.until = time + this.#leaseMs;
      return;
    }
    this.#holders.delete(shard);
    if (kind === "release") return;
    if (holder?.isDrainer !== true) this.#violated(txId, `retire of shard ${shard} without a drain`);
    for (const [name, place] of this.#places)
      if (place.shard === shard && place.isOpen)
        this.#violated(txId, `retire of shard ${shard}, in which ${name} was open`);
  }

  #put([, key, options]: Put, document: string | undefined, txId: number): void {
    const [shard, name] = splitKey(key);
    const place = this.#places.get(name);
    if (options !== undefined) this.#checkedHolder(shard, options, txId, `put of ${name}`);
    else if (place !== undefined) this.#violated(txId, `put of ${name} without an epoch`);
    if (place !== undefined && place.shard !== shard)
      this.#violated(txId, `put of ${name} in shard ${shard}, though it was in shard ${place.shard}`);
    this.#add(name, shard, document);
    if (this.#places.get(name)?.isOpen === false) this.finished.set(name, (this.finished.get(name) ?? 0) + 1);
  }

  #move([, key, to, hold]: Move, txId: number): void {
    const [from, name] = splitKey(key);
    const holder = this.#checkedHolder(from, hold, txId, `move of ${name}`);
    if (holder?.isDrainer === false) this.#violated(txId, `move of ${name} without a drain`);
    const place = this.#places.get(name);
    if (place?.shard === from) place.shard = to;
    else this.#violated(txId, `move of ${name}, which was not in shard ${from}`);
  }

  #add(name: string, shard = Number.NaN, document = "null"): void {
    const { state } = (JSON.parse(document) ?? {}) as { readonly state?: unknown };
    this.#places.set(name, { shard, isOpen: !FINISHED.has(state) });
  }

  #checkedHolder(shard: number, hold: Hold, txId: number, what: string): Holder | undefined {
    const holder = this.#holders.get(shard);
    const { epoch, as } = typeof hold === "number" ? { epoch: hold, as: undefined } : hold;
    if (holder?.epoch === epoch && (as ?? holder.as) === holder.as) return holder;
    const of = (one: string | undefined): string =>
      as === undefined || one === undefined ? "" : ` of ${one}`;
    const had = `${holder?.epoch ?? "none"}${of(holder?.as)}`;
    this.#violated(txId, `${what} with epoch ${epoch}${of(as)}, while shard ${shard} had ${had}`);
    return undefined;
  }

  #violated(txId: number, what: string): void {
    this.violations.push(`Transaction ${txId}: ${what}.`);
  }

  #count(what: string): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + 1);
  }
}

function splitKey(key: string): [shard: number, name: string] {
  const slash = key.indexOf("/");
  return [Number(key.slice(0, slash)), key.slice(slash + 1)];
}
