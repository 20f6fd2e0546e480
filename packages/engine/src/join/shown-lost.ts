import type { Manifest } from "@cairn/checkpoint";
import type { Chains, ChainValue, TxId } from "@cairn/client";
import { CairnError } from "@cairn/kv";
import type { System } from "../api/system.ts";
import type { LogHistory } from "../backup/log-with-backup.ts";
import { listCandidates } from "../checkpoints/candidates.ts";
import { restoreStores } from "../checkpoints/checkpoint-stores.ts";
import { chainsOf, chainValueAt } from "../index/chains/chain-values.ts";
import { ChainWindow } from "../index/chains/chain-window.ts";
import type { OnePast } from "../cluster/one-past.ts";
import { compareChains } from "../index/chains/compare-chains.ts";
import { readOutcome } from "../index/rows/outcome-rows.ts";
import type { FilledIndex } from "./common-history.ts";

export interface Witnesses {
  readonly system: System;
  /** The log combined with its backups. */
  readonly log: LogHistory;
  readonly signal: AbortSignal;
  readonly differing: OnePast["differing"];
}

interface KnownHistory {
  readonly what: string;
  readonly log: { readonly id: string; readonly offset: number };
  readonly txId: TxId;
  readonly chains: Chains;
  readonly at: (txId: TxId) => Promise<ChainValue | undefined>;
  /** When a transaction was stored, or later (ms since 1970). */
  readonly timeAt: (txId: TxId) => Promise<number>;
}

export async function historyOfIndex({ kv, state }: FilledIndex): Promise<KnownHistory> {
  const { log, txId, time } = state;
  const window = await ChainWindow.load(kv, state);
  return {
    what: "The local index",
    log,
    txId,
    chains: await chainsOf(kv, window),
    at: async (id) => await chainValueAt(kv, window, id),
    timeAt: async (id) => (await readOutcome(kv, id))?.time ?? time,
  };
}

export function historyOfManifest({ log, txId, txTime, chains }: Manifest): KnownHistory {
  return {
    what: "It",
    log,
    txId,
    chains,
    at: async (id) => chains.find((value) => value.txId === id),
    timeAt: async () => Date.parse(txTime),
  };
}

/**
 * A log that no longer holds the last message of an index or a checkpoint cannot show that its history is theirs. Returns
 * `LOG_REGRESSED` if something else shows that it is not: a checkpoint at or before their end with another history, whose
 * last transaction was stored later than theirs in its place, or a node that follows the log with another history. What
 * the log, the stores and the nodes that answer do not show remains unknown, and counts as the same.
 */
export async function shownLost(
  { system, log, signal, differing }: Witnesses,
  { what, log: { id, offset }, txId, chains, at, timeAt }: KnownHistory,
): Promise<CairnError | undefined> {
  if ((await log.fetch(txId - offset)) !== undefined) return undefined;
  const lost = (shownBy: string): CairnError =>
    new CairnError(
      "LOG_REGRESSED",
      `${what} and ${shownBy} contain different transactions of the log "${log.name}", which no longer holds message ${txId - offset}.`,
      'The log server lost the end of the log, and other messages were written in its place. Set "on-log-mismatch": {"regressed": "rebuild"} in cairn/tx-log to move the index aside and join from a checkpoint; `cairn log orphans` then prints what only the index contains. If there is none, save one on a ready node of this log: cairn checkpoint create --url URL (the address of that node). Nothing was deleted.',
    );
  for (const other of (await listCandidates(restoreStores(system), { signal })).usable) {
    if (other.log.id !== id || other.txId > txId) continue;
    // Messages that take the place of lost ones are stored later.
    const isLater = Date.parse(other.txTime) > (await timeAt(other.txId));
    if (isLater && (await compareChains(at, other.chains, "history")) !== undefined)
      return lost(`the checkpoint ${other.name} in ${other.store}, which was stored later,`);
  }
  for (const { node, chains: theirs } of await differing(id, chains))
    if ((await compareChains(at, theirs, "history")) !== undefined) return lost(`node ${node}`);
  return undefined;
}
