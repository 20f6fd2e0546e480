import { createHash } from "node:crypto";
import { type CairnError, type KvOperation, type KvReader } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import {
  ALL_ENTRIES,
  ALL_LINKS,
  CHAIN_BYTES,
  decodeEntries,
  decodeLink,
  EFFECT_BYTES,
  encodeEntries,
  encodeLink,
  ENTRIES_IN_ROW,
  IDENTITY_BYTES,
  type Link,
} from "../rows/chain-rows.ts";
import { SUM_BYTES, unusableIndex } from "../rows/row-checksum.ts";
import type { IndexState } from "../rows/index-state.ts";
import { allRows } from "../rows/row-cursor.ts";
import { ROW, rowTxId, txRowKey } from "../rows/row-keys.ts";

/*
 * Two chains run over all messages of a log, with a link at every transaction whose id is divisible by 1,024:
 *
 *   history  SHA-256(previous link, identities of the messages since)     can be computed from the log
 *   effects  SHA-256(previous link, effects of the messages since)        only by applying it
 *
 * Between links, the chains' values are computed in the same way from the messages since the previous link. Two indexes
 * with the same value at a transaction have the same history up to it.
 */

export const LINK_SPAN = 1_024;
/** So many complete spans are kept, so that the values at all of the newest transactions are known. */
const KEPT_SPANS = 2;
/**
 * The number of slots. They hold the kept entries and those of one batch, which must not overwrite kept ones before the
 * batch is written.
 */
const SLOTS = 4 * LINK_SPAN;
const NO_LINK: Link = { history: Buffer.alloc(CHAIN_BYTES), effects: Buffer.alloc(CHAIN_BYTES) };
/** The factor is odd and far from 0: one document more or less changes the sum as much as a different version would. */
const DOCUMENTS_FACTOR = 0x9e3779b1;

interface Effect {
  /** The value of the message's outcome row, which begins with a checksum. */
  readonly outcome: Uint8Array;
  readonly documents: number;
  /** The sum of the checksums of the versions that the message, or policies applied with it, wrote. */
  readonly written: number;
}

/** The newest part of the chains, enough to extend them and to compute their values at the newest transactions. */
export class ChainWindow {
  // The entries before a log's first transaction are zero if that transaction's id is not 1.
  readonly #identities = Buffer.alloc(SLOTS * IDENTITY_BYTES);
  readonly #effects = Buffer.alloc(SLOTS * EFFECT_BYTES);
  readonly #links = new Map<TxId, Link>();
  #last: TxId;

  private constructor(last: TxId) {
    this.#last = last;
  }

  /** Reads the chains of an index that ends at `state`. Throws `INDEX_CORRUPT` if the rows are inconsistent. */
  static async load(reader: KvReader, { txId, log }: Pick<IndexState, "txId" | "log">): Promise<ChainWindow> {
    const window = new ChainWindow(txId);
    let next: TxId | undefined;
    for await (const rows of reader.range(ALL_ENTRIES)) {
      for (const [key, value] of rows) {
        const { first, count, identities, effects } = decodeEntries(key, value);
        // A log that does not continue another one may begin with a transaction id other than 1.
        const isBegin = first === keptFrom(txId) || first === rowBegin(log.offset + 1);
        if (next === undefined && !isBegin) throw broken(`the entries begin at transaction ${first}`);
        if (next !== undefined && first !== next)
          throw broken(`entries are missing, starting with transaction ${next}`);
        window.#identities.set(identities, slotOf(first) * IDENTITY_BYTES);
        window.#effects.set(effects, slotOf(first) * EFFECT_BYTES);
        next = first + count;
      }
    }
    // An empty index has no entries.
    if ((next ?? log.offset + 1) !== txId + 1) throw broken(`the entries do not end at transaction ${txId}`);
    const newest = { ...ALL_LINKS, reverse: true, limit: KEPT_SPANS + 1 };
    for (const [key, value] of await allRows(reader, newest))
      window.#links.set(rowTxId(key), decodeLink(key, value));
    window.#check(log.offset);
    return window;
  }

  get txId(): TxId {
    return this.#last;
  }

  /** Returns the chains' values at a transaction; undefined if it has not been applied yet or is before the window. */
  at(txId: TxId): Link | undefined {
    if (txId < keptFrom(this.#last) || txId > this.#last) return undefined;
    return this.#links.get(txId) ?? this.#chain(this.#links.get(linkBefore(txId)) ?? NO_LINK, txId);
  }

  /** `payloadChecksum`: the identity's first four bytes. Undefined if not applied yet, or before the window. */
  checksumAt(txId: TxId): number | undefined {
    if (txId < keptFrom(this.#last) || txId > this.#last) return undefined;
    return this.#identities.readUInt32BE(slotOf(txId) * IDENTITY_BYTES);
  }

  begin(): ChainBatch {
    const links = new Map<TxId, Link>();
    let last = this.#last;
    return {
      add: (identity, effect) => {
        last += 1;
        this.#write(last, identity, effect);
        if (last % LINK_SPAN !== 0) return;
        const before = last - LINK_SPAN;
        links.set(last, this.#chain(links.get(before) ?? this.#links.get(before) ?? NO_LINK, last));
      },
      rows: () => this.#rows(last, links),
      commit: () => this.#commit(last, links),
    };
  }

  #write(txId: TxId, identity: Uint8Array, effect: Effect): void {
    this.#identities.set(identity, slotOf(txId) * IDENTITY_BYTES);
    const effectAt = slotOf(txId) * EFFECT_BYTES;
    for (let at = 0; at < SUM_BYTES; at += 1) this.#effects[effectAt + at] = effect.outcome[at] ?? 0;
    const content = effect.written + Math.imul(effect.documents, DOCUMENTS_FACTOR);
    this.#effects.writeUInt32BE(content >>> 0, effectAt + SUM_BYTES);
  }

  #rows(last: TxId, links: ReadonlyMap<TxId, Link>): KvOperation[] {
    const rows: KvOperation[] = [];
    for (let first = rowBegin(this.#last + 1); first <= last; first += ENTRIES_IN_ROW) {
      const end = Math.min(first + ENTRIES_IN_ROW - 1, last);
      const key = txRowKey(ROW.chainEntries, first);
      const identities = this.#identitiesOf(first, end);
      const value = encodeEntries(key, { first, identities, effects: this.#effectsOf(first, end) });
      rows.push({ type: "put", key, value });
    }
    for (const [txId, link] of links) {
      const key = txRowKey(ROW.link, txId);
      rows.push({ type: "put", key, value: encodeLink(key, link) });
    }
    for (let old = keptFrom(this.#last); old < keptFrom(last); old += ENTRIES_IN_ROW) {
      rows.push({ type: "del", key: txRowKey(ROW.chainEntries, old) });
    }
    return rows;
  }

  #commit(last: TxId, links: ReadonlyMap<TxId, Link>): void {
    this.#last = last;
    for (const [txId, link] of links) this.#links.set(txId, link);
    for (const txId of this.#links.keys()) if (txId < keptFrom(last) - 1) this.#links.delete(txId);
  }

  /** Links and entries are stored in different rows, any of which could be missing or outdated. */
  #check(offset: TxId): void {
    for (let txId = keptFrom(this.#last) - 1; txId <= this.#last; txId += LINK_SPAN) {
      const link = this.#links.get(txId);
      if (link === undefined && txId > offset) throw broken(`the link at transaction ${txId} is missing`);
      if (link === undefined || txId < keptFrom(this.#last)) continue;
      const { history, effects } = this.#chain(this.#links.get(txId - LINK_SPAN) ?? NO_LINK, txId);
      const isSame =
        Buffer.compare(history, link.history) === 0 && Buffer.compare(effects, link.effects) === 0;
      if (!isSame) throw broken(`the link at transaction ${txId} does not match its entries`);
    }
  }

  #chain(before: Link, txId: TxId): Link {
    const from = linkBefore(txId) + 1;
    return {
      history: createHash("sha256").update(before.history).update(this.#identitiesOf(from, txId)).digest(),
      effects: createHash("sha256").update(before.effects).update(this.#effectsOf(from, txId)).digest(),
    };
  }

  /** Returns the identities of messages of one span, which are contiguous. */
  #identitiesOf(from: TxId, to: TxId): Buffer {
    return this.#identities.subarray(slotOf(from) * IDENTITY_BYTES, (slotOf(to) + 1) * IDENTITY_BYTES);
  }

  #effectsOf(from: TxId, to: TxId): Buffer {
    return this.#effects.subarray(slotOf(from) * EFFECT_BYTES, (slotOf(to) + 1) * EFFECT_BYTES);
  }
}

export interface ChainBatch {
  /** Adds the next message, by its identity (`messageIdentity`). */
  add(identity: Uint8Array, effect: Effect): void;
  /** Returns the rows of the chains, which must be written together with those of the messages. */
  rows(): KvOperation[];
  /** Extends the chains after the rows have been written. */
  commit(): void;
}

export function linkBefore(txId: TxId): TxId {
  return txId - 1 - ((txId - 1) % LINK_SPAN);
}

function keptFrom(last: TxId): TxId {
  return Math.max(0, last - (last % LINK_SPAN) - KEPT_SPANS * LINK_SPAN) + 1;
}

function rowBegin(txId: TxId): TxId {
  return txId - ((txId - 1) % ENTRIES_IN_ROW);
}

function slotOf(txId: TxId): number {
  return (txId - 1) % SLOTS;
}

function broken(why: string): CairnError {
  return unusableIndex(`in its chains ${why}`);
}
