import type { KvReader } from "@cairn/kv";
import type { ChainValue, TxId } from "@cairn/client";
import { decodeLink, type Link } from "../rows/chain-rows.ts";
import { type ChainWindow, LINK_SPAN, linkBefore } from "./chain-window.ts";
import { ROW, txRowKey } from "../rows/row-keys.ts";

/** The newest reported links are one span apart, for this number of spans. Before them, the distances double. */
const CONSECUTIVE_LINKS = 8;

/** Undefined if `txId` is not applied yet, or is too old and no link: then the value at {@link linkBefore} is known. */
export async function chainValueAt(
  reader: KvReader,
  window: ChainWindow,
  txId: TxId,
): Promise<ChainValue | undefined> {
  const known = window.at(txId);
  if (known !== undefined) return valueOf(txId, known);
  return txId % LINK_SPAN === 0 && txId < window.txId ? await readLink(reader, txId) : undefined;
}

/** The values, newest first: at the end, at earlier links, and at `others` or, if unknown there, at the link before. */
export async function chainsOf(
  reader: KvReader,
  window: ChainWindow,
  others: readonly TxId[] = [],
): Promise<ChainValue[]> {
  const { txId } = window;
  const wanted = new Set([txId, ...reportedLinks(txId)]);
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

/** Links, newest first and at growing distances, so that the point where histories diverge can be narrowed down. */
function reportedLinks(txId: TxId): TxId[] {
  const links: TxId[] = [];
  let distance = LINK_SPAN;
  for (let at = linkBefore(txId); at > 0; at -= distance) {
    links.push(at);
    if (links.length > CONSECUTIVE_LINKS) distance *= 2;
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
