import type { NodeStatus } from "@cairn/client";
import type { CheckpointStore } from "@cairn/checkpoint";
import { CairnError, coalesced, isCairnError, unlessFailed } from "@cairn/kv";
import { asWarning } from "../observe/failures.ts";
import { furthestBackup } from "../backup/furthest-backup.ts";
import { UNUSABLE_SEGMENT } from "../backup/segments/read-segment.ts";
import { listCandidates } from "../checkpoints/candidates.ts";
import { allStores, restoreStores } from "../checkpoints/checkpoint-stores.ts";
import type { System } from "../api/system.ts";
import { logOffset } from "../index/rows/index-state.ts";
import { checkCheckpoint, lacksNothing } from "../log/anchor.ts";
import { withStoreFirst } from "../join/join-errors.ts";
import { judgeOldCopy, oldCopyByNodes } from "../join/old-copy.ts";
import type { LogIdentity } from "../log/log-identity.ts";
import type { TxLog } from "../log/tx-log.ts";
import { recordingStore, recordTrim, trimmedUpTo } from "../upkeep/trim-record.ts";
import type { NodeLife } from "./node-life.ts";

/**
 * How long a checkpoint or backup with the log's beginning counts as present (ms). Searching lists the stores; nodes
 * never remove the last one, and a removal by others need not be reported sooner.
 */
const COVERED_MS = 3_600_000;
/** How long other nodes may take to answer (ms). */
const ASK_MS = 1_000;
/** An age that no message has, for logs that are not trimmed. */
const UNTRIMMED_KEEP = "P9999D";

/**
 * Periodically inspects a log in use for problems that need an operator, such as unsafe settings or removed messages.
 */
export class LogWatch {
  /** Inspects the log now. Calls that arrive during an inspection share the next one. */
  readonly look = coalesced(async () => {
    if (this.#lost !== undefined || this.#compared !== this.#life.identity) await this.#compare();
    await this.#inspect();
  });
  readonly #system: System;
  readonly #life: NodeLife;
  #found: readonly CairnError[] = [];
  #missing: readonly CairnError[] = [];
  /** The log that the node followed when it was inspected, which it may have left since; undefined if it followed none. */
  #inspected: string | undefined;
  /** What the last comparison found; undefined if there is nothing to report. */
  #lost: CairnError | undefined;
  #compared: LogIdentity | undefined;
  /** The last position at which the log may begin: where it began when it was first read, and how far Cairn trimmed it. */
  #begins: { readonly logId: string; readonly upTo: number } | undefined;
  /** The last position at which the log may begin, given the checkpoint or backup that the last search found. */
  #covered: { readonly logId: string; readonly upTo: number; readonly at: number } | undefined;

  constructor(system: System, life: NodeLife) {
    this.#system = system;
    this.#life = life;
  }

  /** The problems that the last inspection found, and the warning from joining that the log may be the wrong one. */
  get warnings(): NodeStatus["log"]["warnings"] {
    const lasting = [this.#life.report.wrongLog, this.#lost].filter((one) => one !== undefined);
    const isOfLog = this.#inspected === undefined || this.#inspected === this.#followed;
    return [...lasting, ...(isOfLog ? [...this.#found, ...this.#missing] : [])]
      .map((error) => withStoreFirst(error, this.#system, this.#life.log))
      .map(asWarning);
  }

  get #followed(): string | undefined {
    const { agrees, identity } = this.#life;
    return agrees ? identity?.id : undefined;
  }

  /** If the log or a store does not respond, the earlier findings remain valid. */
  async #inspect(): Promise<void> {
    const { log } = this.#life;
    if (log?.inspect === undefined) {
      [this.#found, this.#missing] = [[], []];
      return;
    }
    const followed = this.#followed;
    try {
      this.#found = await log.inspect(followed);
      this.#inspected = followed;
      const removed = await this.#removed();
      const beginning = await this.#beginning();
      // While no node could join, the other warning contains less.
      this.#missing = beginning.length > 0 ? beginning : removed;
    } catch (error) {
      // An unreachable log or store is reported by the code that needs it.
      if (isCairnError(error, "LOG_UNREACHABLE", "STORE_UNREACHABLE")) return;
      if (!isCairnError(error)) throw error;
      this.#inspected = followed;
      [this.#found, this.#missing] = [this.#life.failure === undefined ? [error] : [], []];
    }
  }

  /** Messages before the log's first one that no trim of Cairn has removed. */
  async #removed(): Promise<readonly CairnError[]> {
    const { log, identity, index, agrees } = this.#life;
    if (log === undefined || identity === undefined || index === undefined || !agrees) return [];
    const own = recordingStore(this.#system);
    if (log.trim === undefined || log.hasOneWriter === true || own === undefined) return [];
    const shared = allStores(this.#system).filter((store) => store.shared === true);
    const { id } = identity;
    // A trim is recorded before it begins, so what it has removed by now is in the records that are read afterwards.
    const { first } = await log.bounds();
    if (this.#begins?.logId !== id) {
      const recorded = first <= 1 ? undefined : await trimmedUpTo(shared, id);
      this.#begins = { logId: id, upTo: recorded ?? first };
    }
    const { upTo: known } = this.#begins;
    if (first <= known) return [];
    const recorded = await trimmedUpTo(shared, id);
    const upTo = recorded ?? known;
    // Other nodes, and this one after a restart, do not know where the log began.
    if (recorded === undefined) await unlessFailed(recordTrim(own, id, known), "any", undefined);
    this.#begins = { logId: id, upTo };
    if (first <= upTo) return [];
    const offset = logOffset(identity, index.state);
    const gone = { upTo: upTo + offset, first: first + offset };
    return [removedByOthers(log, gone, this.#system.trim !== undefined)];
  }

  async #beginning(): Promise<readonly CairnError[]> {
    const { log, history, identity, index, agrees } = this.#life;
    // The node itself reports a disagreement with the log.
    if (log === undefined || history === undefined || identity === undefined) return [];
    if (index === undefined || !agrees) return [];
    const { first } = await log.bounds();
    const { logId, upTo = 0, at = 0 } = this.#covered ?? {};
    if (first <= 1 || (logId === identity.id && first <= upTo && performance.now() - at < COVERED_MS))
      return [];
    const { first: readable } = await history.bounds();
    const stores = restoreStores(this.#system);
    const end = readable <= 1 ? readable : await leadingCheckpoint({ ...identity, first: readable }, stores);
    if (end === undefined) {
      // Cairn trims only what a checkpoint or a backup contains, so something else removed one of the three.
      const message = `The log "${log.name}" begins at transaction ${readable + logOffset(identity, index.state)}, and no intact checkpoint or log backup known to this node contains the earlier ones, so a node without an index cannot join.`;
      const hint =
        "Save a checkpoint on a ready node (cairn checkpoint create). Then find out what is purging the stream (its settings, other programs) and what removes checkpoints and segments, because Cairn itself trims only messages that a verified checkpoint or a log backup contains.";
      return [new CairnError("LOG_TRIMMED", message, hint)];
    }
    this.#covered = { logId: identity.id, upTo: Math.max(first, end), at: performance.now() };
    return [];
  }

  /** A node whose index has transactions that the log lost notices by itself, but that index may be gone as well. */
  async #compare(): Promise<void> {
    const { log, identity, index, agrees } = this.#life;
    if (log === undefined || identity === undefined || index === undefined || !agrees) return;
    // A checkpoint may be ahead of a backup, and its reader finds by itself which log replaces the one that it reads.
    if (log.backup !== undefined) return;
    const stores = restoreStores(this.#system);
    const compare = async (): Promise<CairnError | undefined> =>
      (await lostEnd(log, identity.id, stores)) ??
      (await judgeOldCopy(log, identity, stores, { kv: index.rows, state: index.state })) ??
      (await oldCopyByNodes(log, identity.id, { timeoutMs: ASK_MS }));
    // An unreachable log or store is reported by the code that needs it, and the next look compares.
    const lost = await unlessFailed(compare(), "any", null);
    if (lost !== null) [this.#lost, this.#compared] = [lost, identity];
  }
}

function removedByOthers(
  { name }: TxLog,
  { upTo, first }: { readonly upTo: number; readonly first: number },
  isTrimmed: boolean,
): CairnError {
  const gone = first - 1 === upTo ? `Transaction ${upTo} was` : `Transactions ${upTo} to ${first - 1} were`;
  const message = `${gone} removed from the log "${name}", but not by Cairn, as far as the checkpoint store shows: something purged the stream or lowered a limit of it, its servers lost data, or the store lost its records.`;
  const accept = isTrimmed
    ? "cairn log trim"
    : `cairn log trim --keep ${UNTRIMMED_KEEP}, which removes nothing younger`;
  const hint = `Save and verify a checkpoint, because nodes can no longer join from those that end earlier (cairn checkpoint create, then cairn checkpoint verify). Find out what removed the messages (the limits of the stream, other programs, nodes with another checkpoint store, the logs of its servers) or files from the store. Then accept that the log begins with transaction ${first}: ${accept}.`;
  return new CairnError("LOG_TRIMMED", message, hint);
}

/** Returns the error for the furthest checkpoint of transactions that the log has lost; undefined if there is none. */
async function lostEnd(
  log: TxLog,
  logId: string,
  stores: readonly CheckpointStore[],
): Promise<CairnError | undefined> {
  // The furthest come first.
  for (const one of (await listCandidates(stores, {})).usable) {
    if (one.log.id !== logId || (await checkCheckpoint(log, one))?.code !== "LOG_REGRESSED") continue;
    const { name, store, txId } = one;
    const backup = await unlessFailed(furthestBackup(stores, logId), UNUSABLE_SEGMENT, undefined);
    const checking = backup !== undefined && backup.last > txId && checkCheckpoint(backup.log, one);
    const isFurther = checking && (await unlessFailed(checking, UNUSABLE_SEGMENT, null)) === undefined;
    const [also, from, point] = isFurther
      ? [`, and the log backup up to ${backup.last}`, "the end of that backup", `--at-tx ${backup.last}`]
      : ["", "that checkpoint", `--from ${name}`];
    const message = `The log "${log.name}" has lost transactions that it had stored: ${name} in ${store} contains them, up to transaction ${txId}${also}.`;
    const hint = `To continue from ${from}, once for all nodes: stop the writers, remove the log (nats stream rm ${log.name}; embedded: stop the node and move the log's folder away), run cairn log recover ${point} (if it is refused because of what was written since, add --yes), and start the nodes. What was written since is then only in the indexes that the nodes moved aside: print it with cairn log orphans on each of them, and load it again (cairn load FILE). To keep the log as it is, save a checkpoint (cairn checkpoint create), and remove the others with cairn checkpoint prune --lost.`;
    return new CairnError("LOG_REGRESSED", message, hint);
  }
  return undefined;
}

/**
 * Returns the end, as a position of the log, of a checkpoint that contains the transactions before the log's position
 * `first`; undefined if there is none. Throws if a store does not respond.
 */
async function leadingCheckpoint(
  log: { readonly id: string; readonly first: number },
  stores: readonly CheckpointStore[],
): Promise<number | undefined> {
  for (const { log: of, anchor } of (await listCandidates(stores, {})).usable) {
    const end = anchor.txId - of.offset;
    if (of.id === log.id && lacksNothing(end, log)) return end;
  }
  return undefined;
}
