import type { KvReader } from "@cairn/kv";
import type { ChainValue, TxId } from "@cairn/client";
import { decodeLink, type Link } from "../rows/chain-rows.ts";
import { ChainWindow, LINK_SPAN, linkBefore } from "./chain-window.ts";
import type { IndexState } from "../rows/index-state.ts";
import { ROW, txRowKey } from "../rows/row-keys.ts";

/** So many of the newest links are told one by one, those before them at distances that double. */
const NEWEST_LINKS = 8;

/**
 * The chains' values at a transaction. Undefined where that is still to come, and where it is no link and too long ago: then
 * {@link linkBefore} it one is known.
 */
export async function chainValueAt(
  reader: KvReader,
  window: ChainWindow,
  txId: TxId,
): Promise<ChainValue | undefined> {
  const known = window.at(txId);
  if (known !== undefined) return valueOf(txId, known);
  return txId % LINK_SPAN === 0 && txId < window.txId ? await readLink(reader, txId) : undefined;
}

/**
 * The chains' values at their end, at links before it, and at `others`, or at the link before each of those where it is not known itself;
 * the newest first.
 */
export async function chainsOf(
  reader: KvReader,
  window: ChainWindow,
  others: readonly TxId[] = [],
): Promise<ChainValue[]> {
  const { txId } = window;
  const wanted = new Set([txId, ...toldLinks(txId)]);
  for (const other of others) {
    if (other <= txId) wanted.add(window.at(other) === undefined ? linkBefore(other + 1) : other);
  }
  const values: ChainValue[] = [];
  for (const at of [...wanted].toSorted((a, b) => b - a)) {
    const value = await chainValueAt(reader, window, at);
    if (value !== undefined) values.push(value);
  }
  return values;
}

/** The same of an index that nobody applies to. */
export async function readChains(
  reader: KvReader,
  state: IndexState,
  others: readonly TxId[] = [],
): Promise<ChainValue[]> {
  return await chainsOf(reader, await ChainWindow.load(reader, state), others);
}

/** Transactions of links: the newest ones, then fewer and fewer, so that where two histories part can be told roughly. */
function toldLinks(txId: TxId): TxId[] {
  const links: TxId[] = [];
  let distance = LINK_SPAN;
  for (let at = linkBefore(txId); at > 0; at -= distance) {
    links.push(at);
    if (links.length > NEWEST_LINKS) distance *= 2;
  }
  return links;
}

async function readLink(reader: KvReader, txId: TxId): Promise<ChainValue | undefined> {
  const key = txRowKey(ROW.link, txId);
  const value = await reader.get(key);
  return value === undefined ? undefined : valueOf(txId, decodeLink(key, value));
}

function valueOf(txId: TxId, { history, effects }: Link): ChainValue {
  return {
    txId,
    history: Buffer.from(history).toString("hex"),
    effects: Buffer.from(effects).toString("hex"),
  };
}
