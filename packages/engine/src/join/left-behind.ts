import type { CheckpointStore } from "@cairn/checkpoint";
import type { Chains, TxId } from "@cairn/client";
import { CairnError, unlessFailed } from "@cairn/kv";
import type { System } from "../api/system.ts";
import { lineOf, type LogOrigin, readLineages } from "../backup/backup-lineage.ts";
import { furthestBackup } from "../backup/furthest-backup.ts";
import { type LogHistory, logWithBackup } from "../backup/log-with-backup.ts";
import { listBackups } from "../backup/segments/segment-name.ts";
import { listCandidates } from "../checkpoints/candidates.ts";
import { chainValueAt } from "../index/chains/chain-values.ts";
import { ChainWindow } from "../index/chains/chain-window.ts";
import { compareChains } from "../index/chains/compare-chains.ts";
import { readIndex } from "../index/local-index.ts";
import { readOutcome } from "../index/rows/outcome-rows.ts";
import {
  commonWithIndex,
  commonWithLog,
  type FilledIndex,
  type SharedTransactions,
  sharedOf,
} from "./common-history.ts";
import type { Holder } from "./log-holders.ts";
import { isUnused, type LogIdentity, readLogIdentity } from "../log/log-identity.ts";
import type { TxLog } from "../log/tx-log.ts";
import type { PastIndex } from "../replay/past-index.ts";
import type { CopiedIndex, PastPlan } from "../replay/past-plan.ts";
import { isUnusableSegment, UNUSABLE_SEGMENT } from "../backup/segments/read-segment.ts";

/** A place that was asked, and a copy of its index if it has one in a folder. */
export interface AskedHolder extends Holder {
  readonly copy?: CopiedIndex | undefined;
}

/** A log that is to be continued, and the index with which the new one begins. */
interface Continuation {
  readonly log: TxLog;
  readonly existing: LogIdentity | undefined;
  readonly system: System;
  readonly stores: readonly CheckpointStore[];
  readonly plan: PastPlan;
  readonly past: PastIndex;
  readonly signal: AbortSignal;
}

/** What a new log lacks that something holds. */
export interface LeftBehind {
  /** The number of transactions of the holder that has most of them, as far as it is known; `isAtMost` if it may be less. */
  readonly count: number;
  readonly isAtMost: boolean;
  /** A clause for each holder. */
  readonly holders: readonly string[];
  /** The ids of their logs, and of logs of which the new log has everything: it replaces all of them. */
  readonly replaced: readonly string[];
  /** The errors of damaged segments, whose transactions nothing can read. */
  readonly damaged: readonly CairnError[];
}

/**
 * Compares every holder of transactions with the history that a new log continues. A holder whose history is not a part
 * of that one, or cannot be compared with it, is named. What the lost log had itself left behind or lost is not.
 */
export async function leftBehind(
  continuation: Continuation,
  holders: readonly AskedHolder[],
): Promise<LeftBehind> {
  const { system, past } = continuation;
  return await readIndex(system.kvProvider, past.live, async ({ kv, state }) => {
    if (state === undefined) throw new CairnError("INTERNAL", `There is no index in ${past.live}.`);
    const comparison = new Comparison({ kv, state }, await ChainWindow.load(kv, state));
    await addStores(comparison, continuation);
    for (const holder of holders) await comparison.addHolder(holder, system);
    return comparison.result();
  });
}

/** The end of a history of which only the newest part is known. */
interface KnownEnd {
  readonly txId: TxId;
  readonly time: number | undefined;
  readonly chains: Chains;
}

class Comparison {
  readonly past: FilledIndex;
  readonly #window: ChainWindow;
  readonly #clauses: string[] = [];
  /** The ids of logs that the new log replaces. */
  readonly replaced = new Set<string>();
  /** By their messages. */
  readonly #damaged = new Map<string, CairnError>();
  #count = 0;
  #isAtMost = false;

  constructor(past: FilledIndex, window: ChainWindow) {
    this.past = past;
    this.#window = window;
  }

  result(): LeftBehind {
    return {
      count: this.#count,
      isAtMost: this.#isAtMost,
      holders: this.#clauses,
      replaced: [...this.replaced],
      damaged: [...this.#damaged.values()],
    };
  }

  /** `holds` says who holds transactions up to `last`; `id` is that of their log, if it is known. */
  add(holds: string, last: TxId, { txId, isProven }: SharedTransactions, id?: string): void {
    const lacking = last - txId;
    if (lacking > 0 && id !== undefined) this.replaced.add(id);
    if (lacking > this.#count) [this.#count, this.#isAtMost] = [lacking, !isProven];
    if (lacking > 0) {
      const known =
        txId === 0 ? "" : `, which agrees ${isProven ? "" : "at least "}up to transaction ${txId}`;
      this.#clauses.push(txId < this.past.state.txId ? `${holds} of another history${known}` : holds);
    } else if (!isProven) this.#clauses.push(`${holds}, which cannot all be compared`);
  }

  /** Returns what is read; undefined if a segment is damaged. */
  async unlessDamaged<T>(reading: Promise<T>, onDamaged?: () => void): Promise<T | undefined> {
    try {
      return await reading;
    } catch (error) {
      if (!isUnusableSegment(error)) throw error;
      this.#damaged.set(error.message, error);
      onDamaged?.();
      return undefined;
    }
  }

  async addHolder({ holder, txId, node, copy }: AskedHolder, system: System): Promise<void> {
    if (txId !== undefined && copy !== undefined) {
      const shared = await readIndex(system.kvProvider, copy.dir, async ({ kv }) => {
        const index = { kv, state: copy.state };
        const { same, differs } = await commonWithIndex(index, this.past);
        return await sharedOf(index, { same, differs: Math.min(differs, this.past.state.txId + 1) });
      });
      this.add(holder, txId, shared, copy.state.log.id);
    } else if (txId !== undefined && node !== undefined) {
      const { txTime, chains } = node.status.index;
      const time = txTime === null ? undefined : Date.parse(txTime);
      const shared = await this.sharedWithEnd({ txId, time, chains });
      this.add(holder, txId, shared, node.status.log.id ?? undefined);
    } else this.#clauses.push(holder);
  }

  async sharedWithEnd({ txId, time, chains }: KnownEnd): Promise<SharedTransactions> {
    const { kv, state } = this.past;
    const own = async (at: TxId) => await chainValueAt(kv, this.#window, at);
    const difference = await compareChains(own, chains, "history");
    if (difference !== undefined) return { txId: difference.agreeAt, isProven: false };
    if (txId > state.txId) return { txId: state.txId, isProven: true };
    let agreed = 0;
    for (const value of chains)
      if (agreed === 0 && (await own(value.txId)) !== undefined) agreed = value.txId;
    if (agreed === txId) return { txId, isProven: true };
    // Only the times of its end can be compared.
    const outcome = await readOutcome(kv, txId);
    if (outcome === undefined || time === undefined) return { txId, isProven: false };
    return outcome.time === time ? { txId, isProven: true } : { txId: agreed, isProven: false };
  }

  /** `offset` leads from the positions of the log to transactions. */
  async sharedWithLog(
    history: LogHistory,
    identity: LogIdentity,
    offset: number,
  ): Promise<SharedTransactions> {
    const { kv, state } = this.past;
    const isLater =
      identity.id === state.log.id ||
      (await history.earlier.endInCommon(state.log.id, identity.birth)) !== undefined;
    // Otherwise, they have in common at most what is before the log of the index, which may continue this one.
    const log = isLater ? state.log : { ...state.log, id: identity.id, offset };
    let isDamaged = false;
    const fetch = async (position: number) =>
      await this.unlessDamaged(history.fetch(position), () => void (isDamaged = true));
    const readable = { earlier: history.earlier, fetch };
    const common = await commonWithLog(kv, { ...state, log }, readable, identity);
    const { txId, isProven } = await sharedOf(this.past, common);
    // What is damaged holds nothing that could be compared, or be lost.
    return {
      txId: isLater ? txId : Math.min(txId, state.log.offset),
      isProven: isProven || isDamaged,
    };
  }
}

/** Adds what the stores hold, and the log itself if it was not lost. */
async function addStores(comparison: Comparison, continuation: Continuation): Promise<void> {
  const { log, existing, system, stores, plan, signal } = continuation;
  const { txId, time } = comparison.past.state;
  if (plan.known > txId) {
    const holds = `the store shows transactions up to ${plan.known}`;
    comparison.add(holds, plan.known, { txId, isProven: true });
  }
  /** Whether a holder of what is known to follow the plan differs from it before that, or holds something else. */
  const isOther = (id: string, last: TxId, shared: SharedTransactions): boolean =>
    id !== plan.logId || last > plan.known || shared.txId < Math.min(last, txId) || !shared.isProven;
  const lineage = (await unlessFailed(readLineages(stores), UNUSABLE_SEGMENT, undefined)) ?? new Map();
  const obsolete = new Set(
    [...lineage.values()].flatMap((origin: LogOrigin | undefined) => origin?.obsolete ?? []),
  );
  const earlier = new Set(lineOf(lineage, plan.logId));
  // What another log continued or replaced was left behind when that one began.
  const isAsked = (id: string, name: string): boolean =>
    id === plan.logId || (name === log.name && !earlier.has(id) && !obsolete.has(id));
  // If the log continued after that, then only in this history, so it had lost any other one. Both clocks must say so,
  // because one may have been set back.
  const isEarlier = (writtenAt: number, endedAt: number): boolean => Math.max(writtenAt, endedAt) < time;
  const lost = new Set(plan.others.filter(({ isLater }) => !isLater).map(({ checkpoint }) => checkpoint));
  const named = new Set<string>();
  for (const one of (await listCandidates(stores, { kvFormat: system.kvProvider.format, signal })).usable) {
    const { name, store, log: of, txId: last, takenAt, txTime } = one;
    if (lost.has(name) || named.has(of.id) || !isAsked(of.id, of.name)) continue;
    const isOld = isEarlier(Date.parse(takenAt), Date.parse(txTime));
    if (of.id === plan.logId && isOld) continue;
    const shared = await comparison.sharedWithEnd({ ...one, time: Date.parse(one.txTime) });
    // The segments that show which log continued another one may have expired. A common beginning shows that one did.
    if (isOld && shared.txId > 0) continue;
    // If not even times can be compared, it is far before the end, and counts as the same.
    if (shared.txId === last || !isOther(of.id, last, { ...shared, isProven: true })) continue;
    named.add(of.id);
    comparison.add(`checkpoint ${name} in ${store} holds transactions up to ${last}`, last, shared, of.id);
  }
  const addLog = async (what: string, history: LogHistory, offset: number, last: TxId): Promise<void> => {
    const identity = await comparison.unlessDamaged(readLogIdentity(history));
    // A log of a birth record alone holds no transactions.
    if (identity === undefined || last <= offset + 1) return;
    const shared = await comparison.sharedWithLog(history, identity, offset);
    // The log that is continued may continue this one, and have no backup that would show it.
    if (shared.isProven && shared.txId >= last) comparison.replaced.add(identity.id);
    else if (isOther(identity.id, last, shared))
      comparison.add(`${what} holds transactions up to ${last}`, last, shared, identity.id);
  };
  for (const store of stores)
    for (const id of await listBackups(store)) {
      const backup = await comparison.unlessDamaged(furthestBackup([store], id));
      const isPlanned = id === plan.logId && store.location === plan.backupIn;
      if (backup === undefined || isPlanned || !isAsked(id, backup.log.name)) continue;
      const reading = id === plan.logId ? backup.log.fetch(backup.last - backup.offset) : undefined;
      const end = reading && (await comparison.unlessDamaged(reading));
      if (end !== undefined && isEarlier(backup.writtenAt, end.time)) continue;
      const history = logWithBackup(backup.log, stores);
      await addLog(`the log backup in ${store.location}`, history, backup.offset, backup.last);
    }
  if (existing === undefined || isUnused(existing)) return;
  const offset = existing.birth?.offset ?? comparison.past.state.log.offset;
  await addLog("the log itself", logWithBackup(log, stores), offset, existing.bounds.last + offset);
}
