import type { EntryOptions, TxId, QueuePolicy } from "@cairn/client";
import type { QueueRule } from "../policies/active-policies.ts";
import type { EntryPlace, Shard } from "../rows/queue-rows.ts";
import { isoTime } from "@cairn/text";

/** The shards of a queue, except spare ones, and the places of some of its entries. */
export interface QueueView {
  readonly name: string;
  readonly shards: ReadonlyMap<number, Shard>;
  /** Contains every entry that a transaction names; undefined for names without an entry. */
  readonly places: ReadonlyMap<string, EntryPlace | undefined>;
}

/** The transaction by which a rule is applied, whose time is the only clock of leases. */
interface QueueClock {
  readonly txId: TxId;
  readonly time: number;
}

/** The reason why an operation aborts its transaction; undefined if it does not. */
type Reason = string | undefined;

const NEW_SHARD: Shard = { state: "active", entries: 0, open: 0, epoch: 0, holder: undefined };

/**
 * The rules of a queue (docs/queues.md), applied to one transaction. Each method is one operation, which sees the
 * effects of earlier ones. The queue itself stays unchanged, so an aborted transaction leaves no trace. The rules and
 * the reasons are part of the index version.
 */
export class QueueTransaction {
  readonly shards = new Map<number, Shard>();
  /** The places that the transaction changes; undefined for entries that it removes. */
  readonly places = new Map<string, EntryPlace | undefined>();
  readonly #queue: QueueView;
  readonly #rule: QueueRule;
  readonly #clock: QueueClock;
  readonly #written = new Set<string>();
  readonly #evicted = new Set<string>();

  constructor(queue: QueueView, rule: QueueRule, clock: QueueClock) {
    this.#queue = queue;
    this.#rule = rule;
    this.#clock = clock;
  }

  claim(number: number, as: string): Reason {
    const shard = this.#shard(number);
    if (number >= this.#rule.shards || shard?.state === "retiring") return this.#isIn(number, shard);
    const held = this.#heldBy(number, shard);
    if (held !== undefined) return held;
    this.#hold(number, { ...(shard ?? NEW_SHARD), state: "active" }, as);
    return undefined;
  }

  renew(number: number, hold: EntryOptions): Reason {
    const refused = this.#refusedHold(number, hold);
    const shard = this.#shard(number);
    if (refused !== undefined || shard?.holder === undefined) return refused;
    this.#hold(number, shard, shard.holder.as, hold.epoch);
    return undefined;
  }

  /** A shard whose drainer releases it takes entries again. */
  release(number: number, hold: EntryOptions): Reason {
    const refused = this.#refusedHold(number, hold);
    const shard = this.#shard(number);
    if (refused !== undefined || shard === undefined) return refused;
    this.shards.set(number, { ...shard, state: "active", holder: undefined });
    return undefined;
  }

  /** Fences off the shard's director, and the queue's previous drainer if its lease has ended. */
  drain(number: number, as: string): Reason {
    const shard = this.#shard(number);
    if (shard === undefined || shard.state === "retiring") return this.#isIn(number, shard);
    for (const [other, drained] of this.#all()) {
      if (drained.state !== "draining") continue;
      const held = this.#heldBy(other, drained);
      if (held !== undefined) return held;
      this.shards.set(other, { ...drained, state: "active", epoch: this.#clock.txId, holder: undefined });
    }
    this.#hold(number, { ...shard, state: "draining" }, as);
    return undefined;
  }

  /** Sends the shard, which has no open entries, on its way to being spare. */
  retire(number: number, hold: EntryOptions): Reason {
    const refused = this.#refusedDrainer(number, hold);
    const shard = this.#shard(number);
    if (refused !== undefined || shard === undefined) return refused;
    const { name } = this.#queue;
    if (shard.open > 0) return `${name} shard ${number} has ${shard.open} open`;
    this.shards.set(number, { ...shard, state: "retiring", holder: undefined });
    return undefined;
  }

  /** Chooses the shard of a new entry. Returns it as a number. */
  enqueue(entry: string, isOpen: boolean, at: number): number | string {
    const refused = this.#writtenTwice(entry) ?? this.#isElsewhere(entry, undefined);
    if (refused !== undefined) return refused;
    const number = this.#shardOfNew();
    if (number === undefined) {
      return `${this.#queue.name} has no active shard below its cap (${this.#rule.cap}) and no spare one`;
    }
    this.#add(entry, { shard: number, isOpen, txId: this.#clock.txId, at, moved: undefined });
    return number;
  }

  put(entry: string, number: number, isOpen: boolean, at: number, hold: EntryOptions | undefined): Reason {
    const refused =
      this.#writtenTwice(entry) ??
      this.#isElsewhere(entry, number) ??
      (hold === undefined ? undefined : this.#refusedHold(number, hold));
    if (refused !== undefined) return refused;
    const place = this.#place(entry);
    if (place === undefined) {
      const full = this.#refusedEntry(number);
      if (full === undefined)
        this.#add(entry, { shard: number, isOpen, txId: this.#clock.txId, at, moved: undefined });
      return full;
    }
    if (hold === undefined) return this.#needsEpoch(entry, number);
    this.#count(number, 0, (isOpen ? 1 : 0) - (place.isOpen ? 1 : 0));
    this.places.set(entry, { ...place, isOpen });
    return undefined;
  }

  /** Deleting an entry that does not exist changes nothing, but the epoch must be the newest all the same. */
  delete(entry: string, number: number, hold: EntryOptions | undefined): Reason {
    const refused =
      this.#writtenTwice(entry) ??
      this.#isElsewhere(entry, number) ??
      (hold === undefined ? this.#needsEpoch(entry, number) : this.#refusedHold(number, hold));
    if (refused !== undefined) return refused;
    this.#remove(entry);
    return undefined;
  }

  /**
   * An eviction needs no epoch, because it must always be possible. It removes the entry from whichever shard it is in,
   * despite moves, and several keys of an entry may be evicted.
   */
  evict(entry: string, number: number | undefined): Reason {
    const refused = this.#evicted.has(entry) ? undefined : this.#writtenTwice(entry);
    if (refused !== undefined) return refused;
    this.#evicted.add(entry);
    if (number !== undefined) this.#remove(entry);
    return undefined;
  }

  move(entry: string, from: number, to: number, hold: EntryOptions): Reason {
    const refused =
      this.#writtenTwice(entry) ?? this.#isElsewhere(entry, from) ?? this.#refusedDrainer(from, hold);
    if (refused !== undefined) return refused;
    const place = this.#place(entry);
    if (place === undefined) return `${this.#queue.name} ${from}/${entry} is absent`;
    const full = this.#refusedEntry(to);
    if (full !== undefined) return full;
    this.#remove(entry);
    this.#add(entry, { ...place, shard: to, moved: { from, txId: this.#clock.txId } });
    return undefined;
  }

  #shard(number: number): Shard | undefined {
    return this.shards.get(number) ?? this.#queue.shards.get(number);
  }

  #place(entry: string): EntryPlace | undefined {
    return this.places.has(entry) ? this.places.get(entry) : this.#queue.places.get(entry);
  }

  /** Yields all shards that are not spare. */
  *#all(): Generator<readonly [number: number, shard: Shard]> {
    const { shards } = this.#queue;
    for (const [number, shard] of shards) yield [number, this.shards.get(number) ?? shard];
    for (const one of this.shards) if (!shards.has(one[0])) yield one;
  }

  /** Gives a shard to a holder, for a lease from now on. A claim or drain gives it a new epoch. */
  #hold(number: number, shard: Shard, as: string, epoch: TxId = this.#clock.txId): void {
    const until = this.#clock.time + this.#rule.lease;
    this.shards.set(number, { ...shard, epoch, holder: { as, until } });
  }

  #add(entry: string, place: EntryPlace): void {
    this.places.set(entry, place);
    this.#count(place.shard, 1, place.isOpen ? 1 : 0);
  }

  #remove(entry: string): void {
    const place = this.#place(entry);
    if (place === undefined) return;
    this.places.set(entry, undefined);
    this.#count(place.shard, -1, place.isOpen ? -1 : 0);
  }

  #count(number: number, entries: number, open: number): void {
    const shard = this.#shard(number) ?? NEW_SHARD;
    this.shards.set(number, { ...shard, entries: shard.entries + entries, open: shard.open + open });
  }

  /**
   * Returns the shard of a new entry; undefined if none has room. Entries are spread over all shards but one, so that
   * directors can share them also if these come later. One shard stays spare for as long as the others have room.
   */
  #shardOfNew(): number | undefined {
    let spare = this.#rule.shards;
    let found: number | undefined;
    let fewest = Infinity;
    for (const [number, { state, entries, open }] of this.#all()) {
      spare -= 1;
      if (state !== "active" || entries >= this.#rule.cap) continue;
      if (open > fewest || (open === fewest && found !== undefined && number > found)) continue;
      found = number;
      fewest = open;
    }
    return spare > 1 ? this.#lowestSpare() : (found ?? this.#lowestSpare());
  }

  #lowestSpare(): number | undefined {
    for (let number = 0; number < this.#rule.shards; number += 1) {
      if (this.#shard(number) === undefined) return number;
    }
    return undefined;
  }

  /** A transaction writes each entry once, by whichever operation, so that it has one version for each revision. */
  #writtenTwice(entry: string): Reason {
    const { size } = this.#written;
    return this.#written.add(entry).size === size
      ? `${this.#queue.name} ${entry} is written twice`
      : undefined;
  }

  #isElsewhere(entry: string, number: number | undefined): Reason {
    const place = this.#place(entry);
    if (place === undefined || place.shard === number) return undefined;
    return `${this.#queue.name} ${entry} is in shard ${place.shard}`;
  }

  #needsEpoch(entry: string, number: number): string {
    return `${this.#queue.name} ${number}/${entry} is written only with the epoch of its shard`;
  }

  #refusedEntry(number: number): Reason {
    const shard = this.#shard(number);
    if (shard?.state !== "active") return this.#isIn(number, shard);
    if (shard.entries < this.#rule.cap) return undefined;
    return `${this.#queue.name} shard ${number} is full (${this.#rule.cap})`;
  }

  #refusedHold(number: number, { epoch, as }: EntryOptions): Reason {
    const shard = this.#shard(number);
    if (shard === undefined || shard.state === "retiring") return this.#isIn(number, shard);
    const { name } = this.#queue;
    if (epoch < shard.epoch) return `${name} shard ${number} epoch ${epoch} was fenced by ${shard.epoch}`;
    if (epoch > shard.epoch) return `${name} shard ${number} has no epoch ${epoch}`;
    const { holder } = shard;
    if (holder === undefined) return `${name} shard ${number} epoch ${epoch} has ended`;
    if (as === undefined || as === holder.as) return undefined;
    return `${name} shard ${number} epoch ${epoch} belongs to ${JSON.stringify(holder.as)}`;
  }

  #refusedDrainer(number: number, hold: EntryOptions): Reason {
    const refused = this.#refusedHold(number, hold);
    const shard = this.#shard(number);
    return refused ?? (shard?.state === "draining" ? undefined : this.#isIn(number, shard));
  }

  /** Returns the reason why a shard cannot be taken; undefined if it is unclaimed or the lease has ended. */
  #heldBy(number: number, shard: Shard | undefined): Reason {
    const { holder, epoch, state } = shard ?? NEW_SHARD;
    if (holder === undefined || holder.until <= this.#clock.time) return undefined;
    const verb = state === "draining" ? "drained" : "directed";
    const who = `${verb} by ${JSON.stringify(holder.as)}, epoch ${epoch}`;
    return `${this.#queue.name} shard ${number} is ${who}, until ${isoTime(holder.until)}`;
  }

  #isIn(number: number, shard: Shard | undefined): string {
    const { name } = this.#queue;
    if (number >= this.#rule.shards) return `${name} has no shard ${number}`;
    return `${name} shard ${number} is ${shard?.state ?? "spare"}`;
  }
}

interface ReconfiguredQueue {
  readonly name: string;
  readonly before: QueuePolicy | undefined;
  readonly after: QueuePolicy | undefined;
  /** The shards that are not spare. */
  readonly shards: ReadonlyMap<number, Shard>;
  readonly documents: number;
  readonly tombstones: number;
}

/** A policy changes only if every row of the queue is right under the new one, so that none must be rewritten. */
export function reconfigurationProblem(queue: ReconfiguredQueue): string | undefined {
  const { name, before, after, shards, documents, tombstones } = queue;
  if (after === undefined) {
    if (shards.size === 0) return undefined;
    return `${name} has shards that are not spare (${shards.size}): drain and retire them before removing the queue`;
  }
  if (before === undefined) {
    if (documents + tombstones === 0) return undefined;
    return `${name} is not empty (documents: ${documents}, deleted keys: ${tombstones}): a queue begins in an empty bucket, so use another one or evict them`;
  }
  const beyond = Math.max(-1, ...shards.keys());
  if (beyond >= after.shards) {
    return `${name} shard ${beyond} is not spare: drain and retire it before reducing shards to ${after.shards}`;
  }
  const entries = [...shards.values()].reduce((sum, shard) => sum + shard.entries, 0);
  if (entries === 0 || JSON.stringify(before.terminal) === JSON.stringify(after.terminal)) return undefined;
  return `${name} has entries (${entries}): terminal changes only while there are none`;
}
