import { createHash } from "node:crypto";
import { type CairnError, type KvOperation, type KvReader } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import type { LogMessage } from "../../log/tx-log.ts";
import { readFrame, writePayloadMark } from "../../transactions/message-frame.ts";
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
import { SUM_BYTES } from "../rows/row-checksum.ts";
import { INDEX_VERSION, type IndexState } from "../rows/index-state.ts";
import { ROW, rowTxId, txRowKey } from "../rows/row-keys.ts";
import { unusableIndex } from "../rows/unusable-index.ts";

/*
 * Two chains run over all messages of a log, with a link at every transaction that 1,024 divides:
 *
 *   history  SHA-256(link before, what the messages since are)            can be computed by whoever reads the log
 *   effects  SHA-256(link before, index version, what came of them)       only by whoever applies it
 *
 * Their values between links are made in the same way from the messages since the link before. Two indexes that have the same value at
 * one transaction have the same past, up to there.
 */

/** Transactions from one link to the next. */
export const LINK_SPAN = 1_024;
/** Whole spans whose entries are kept beside the one that is being filled, so that values are known at any of the newest transactions. */
const KEPT_SPANS = 2;
/** Slots for the entries that are kept and for those of one batch, which must not overwrite them before it is written. */
const SLOTS = 4 * LINK_SPAN;
const NO_LINK: Link = { history: Buffer.alloc(CHAIN_BYTES), effects: Buffer.alloc(CHAIN_BYTES) };
/** Odd, and far from 0: a document more or less moves the sum by as much as another version would. */
const DOCUMENTS_FACTOR = 0x9e3779b1;
const VERSION_BYTES = Buffer.from([0, 0, 0, INDEX_VERSION]);

/** What came of a message. */
export interface Effect {
  /** The value of its outcome row, which begins with a checksum over all that it says. */
  readonly outcome: Uint8Array;
  /** Current documents then. */
  readonly documents: number;
  /** The sum of the checksums of the versions that it wrote, also by policies. */
  readonly written: number;
}

/** The chains' newest part, in memory: as much as is needed to go on with them, and to tell their values at the newest transactions. */
export class ChainWindow {
  // Of what is before a log's first transaction, if that is not 1, all bytes are 0.
  readonly #identities = Buffer.alloc(SLOTS * IDENTITY_BYTES);
  readonly #effects = Buffer.alloc(SLOTS * EFFECT_BYTES);
  readonly #links = new Map<TxId, Link>();
  #last: TxId;

  private constructor(last: TxId) {
    this.#last = last;
  }

  /** The chains of an index that ends at `state`. `INDEX_CORRUPT` where its rows are not theirs. */
  static async load(reader: KvReader, { txId, log }: Pick<IndexState, "txId" | "log">): Promise<ChainWindow> {
    const window = new ChainWindow(txId);
    let next: TxId | undefined;
    for await (const rows of reader.range(ALL_ENTRIES)) {
      for (const [key, value] of rows) {
        const { first, count, identities, effects } = decodeEntries(key, value);
        // A log that continues none may begin with another tx-id than 1.
        const isBegin = first === keptFrom(txId) || first === rowBegin(log.offset + 1);
        if (next === undefined && !isBegin) throw broken(`the entries begin at transaction ${first}`);
        if (next !== undefined && first !== next)
          throw broken(`entries from transaction ${next} on are missing`);
        window.#identities.set(identities, slotOf(first) * IDENTITY_BYTES);
        window.#effects.set(effects, slotOf(first) * EFFECT_BYTES);
        next = first + count;
      }
    }
    // An index that holds nothing yet has no entries.
    if ((next ?? log.offset + 1) !== txId + 1) throw broken(`the entries do not end at transaction ${txId}`);
    const newest = { ...ALL_LINKS, reverse: true, limit: KEPT_SPANS + 1 };
    for await (const rows of reader.range(newest)) {
      for (const [key, value] of rows) window.#links.set(rowTxId(key), decodeLink(key, value));
    }
    window.#check(log.offset);
    return window;
  }

  /** The last transaction. */
  get txId(): TxId {
    return this.#last;
  }

  /** The chains' values at a transaction; undefined where it is still to come, or too far back to be told from here. */
  at(txId: TxId): Link | undefined {
    if (txId < keptFrom(this.#last) || txId > this.#last) return undefined;
    return this.#links.get(txId) ?? this.#chain(this.#links.get(linkBefore(txId)) ?? NO_LINK, txId);
  }

  /** Begins a batch: the messages that come next. */
  begin(): ChainBatch {
    const links = new Map<TxId, Link>();
    let last = this.#last;
    return {
      add: (message, isReadable, effect) => {
        last += 1;
        this.#write(last, message, isReadable, effect);
        if (last % LINK_SPAN !== 0) return;
        const before = last - LINK_SPAN;
        links.set(last, this.#chain(links.get(before) ?? this.#links.get(before) ?? NO_LINK, last));
      },
      rows: () => this.#rows(last, links),
      commit: () => this.#commit(last, links),
    };
  }

  #write(
    txId: TxId,
    { time, nanoseconds = 0, payload }: LogMessage,
    isReadable: boolean,
    effect: Effect,
  ): void {
    const identityAt = slotOf(txId) * IDENTITY_BYTES;
    writePayloadMark(
      this.#identities,
      identityAt,
      payload,
      isReadable || typeof readFrame(payload) !== "string",
    );
    const seconds = Math.floor(time / 1_000);
    xorUint32(this.#identities, identityAt + 4, seconds);
    xorUint32(this.#identities, identityAt + 8, (time - seconds * 1_000) * 1_000_000 + nanoseconds);
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

  /** Entries and links are in rows of their own: one could be missing, or of another time. */
  #check(offset: TxId): void {
    for (let txId = keptFrom(this.#last) - 1; txId <= this.#last; txId += LINK_SPAN) {
      const link = this.#links.get(txId);
      if (link === undefined && txId > offset) throw broken(`the link at transaction ${txId} is missing`);
      if (link === undefined || txId < keptFrom(this.#last)) continue;
      const { history, effects } = this.#chain(this.#links.get(txId - LINK_SPAN) ?? NO_LINK, txId);
      const isSame =
        Buffer.compare(history, link.history) === 0 && Buffer.compare(effects, link.effects) === 0;
      if (!isSame) throw broken(`the link at transaction ${txId} is not that of its entries`);
    }
  }

  /** The values at a transaction, from those at the link before it. */
  #chain(before: Link, txId: TxId): Link {
    const from = linkBefore(txId) + 1;
    return {
      history: createHash("sha256").update(before.history).update(this.#identitiesOf(from, txId)).digest(),
      effects: createHash("sha256")
        .update(before.effects)
        .update(VERSION_BYTES)
        .update(this.#effectsOf(from, txId))
        .digest(),
    };
  }

  /** Entries of one span lie together. */
  #identitiesOf(from: TxId, to: TxId): Buffer {
    return this.#identities.subarray(slotOf(from) * IDENTITY_BYTES, (slotOf(to) + 1) * IDENTITY_BYTES);
  }

  #effectsOf(from: TxId, to: TxId): Buffer {
    return this.#effects.subarray(slotOf(from) * EFFECT_BYTES, (slotOf(to) + 1) * EFFECT_BYTES);
  }
}

/** What a batch adds to the chains. */
export interface ChainBatch {
  /** The next message. `isReadable`: whether it was decoded. */
  add(message: LogMessage, isReadable: boolean, effect: Effect): void;
  /** Their rows, for the batch of the messages' own. */
  rows(): KvOperation[];
  /** The rows are written: the chains go on from here. */
  commit(): void;
}

/** The newest link before a transaction. */
export function linkBefore(txId: TxId): TxId {
  return txId - 1 - ((txId - 1) % LINK_SPAN);
}

/** The first transaction whose entry is kept. */
function keptFrom(last: TxId): TxId {
  return Math.max(0, last - (last % LINK_SPAN) - KEPT_SPANS * LINK_SPAN) + 1;
}

function rowBegin(txId: TxId): TxId {
  return txId - ((txId - 1) % ENTRIES_IN_ROW);
}

function slotOf(txId: TxId): number {
  return (txId - 1) % SLOTS;
}

function xorUint32(target: Uint8Array, at: number, value: number): void {
  for (let byte = 0; byte < 4; byte += 1)
    target[at + byte] = (target[at + byte] ?? 0) ^ (value >>> (24 - 8 * byte));
}

function broken(why: string): CairnError {
  return unusableIndex(`in its chains ${why}`);
}
