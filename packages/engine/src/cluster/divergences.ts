import { type Clock, CairnError, errorMessage, isCairnError } from "@cairn/kv";
import type { Logger } from "pino";
import type { NodeStatus, TxId } from "@cairn/client";
import { asWarning } from "../observe/failures.ts";
import { nodeClosed } from "../api/not-ready.ts";
import type { ComparePast, OtherPast } from "../checkpoints/compare-past.ts";
import { compareChains, type Divergence } from "../index/chains/compare-chains.ts";
import type { IndexStore } from "../index/index-store.ts";
import type { IndexState } from "../index/rows/index-state.ts";
import { isoTime } from "@cairn/text";
import type { ComparedNode, SelfCheck } from "./self-check.ts";

/** The state of a node that is comparing its index with a rebuild or waiting for its turn to do so. */
export interface Turn {
  readonly from: number;
  readonly state: "waiting" | "comparing";
}

export interface DivergenceParts {
  readonly life: Pick<ComparedNode, "index" | "agrees" | "suspect" | "halt">;
  readonly check: Pick<SelfCheck, "check">;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly random: () => number;
  /** Returns whether another node is comparing its index with a rebuild, or must go first. */
  readonly othersFirst: (turn: Turn, signal: AbortSignal) => Promise<boolean>;
  /** Announces the chains again. Returns whether any other node differs. */
  readonly askAgain: (signal: AbortSignal) => Promise<boolean>;
}

/** The pause is random, so that of many nodes that detect a difference at the same time, one goes first. */
const MAX_PAUSE_MS = 2_000;
/** The maximum time for which other nodes may go first. It is limited, because their claims could be forged. */
const MAX_WAIT_MS = 120_000;
/**
 * The minimum time between rebuilds. Any process that reaches the nodes can send claims: this bound and the two below
 * limit the rebuilds and the log output that claims can cause.
 */
const MIN_REBUILD_GAP_MS = 600_000;
const GAP_PER_REBUILD = 20;
const LOG_GAP_MS = 5_000;
/** The time for which the status shows a claim that is not repeated. */
const CLAIM_TTL_MS = 600_000;

const MAX_OTHERS = 1_000;

/**
 * Compares this node's history with those of other nodes and checkpoints. If two differ, no claim is trusted, and no
 * majority decides: each node in turn compares its index with a rebuild from the log, and leaves its index if the two
 * differ. If a checkpoint differs and nothing older than the divergence remains to rebuild from, the node halts.
 */
export class Divergences {
  readonly #parts: DivergenceParts;
  readonly #stop = new AbortController();
  /** The index, and the transaction up to which a rebuild has proved it right. */
  #right: { readonly index: IndexStore; readonly txId: TxId } | undefined;
  #open: { error: CairnError; readonly since: number; readonly who: Map<string, number> } | undefined;
  #state: "open" | "waiting" | "comparing" = "open";
  #settling: Promise<void> | undefined;
  #noRebuildUntil = 0;
  #noLineUntil = 0;
  /** The divergences that have been logged, with their state. Each is logged once. */
  readonly #logged = new Set<string>();

  constructor(parts: DivergenceParts) {
    this.#parts = parts;
  }

  get status(): NodeStatus["index"]["divergence"] {
    const from = this.#from;
    if (this.#open === undefined || from === 0) return null;
    const { error, since } = this.#open;
    return { since: isoTime(since), ...asWarning(error), from, state: this.#state };
  }

  readonly comparePast: ComparePast = async ({ who, isStored, log, chains, unshown }) => {
    const { life, clock } = this.#parts;
    const { index, agrees } = life;
    if (index === undefined || !agrees || index.state.log.id !== log) return undefined;
    const divergence = await this.#compare(index, chains);
    if (index !== life.index) return undefined;
    if (divergence === undefined) {
      this.#open?.who.delete(who);
      return undefined;
    }
    const isProved = this.#right?.index === index && divergence.differAt <= this.#right.txId;
    const settled = isProved || outweighs(index.state, divergence, unshown);
    const error = differenceFrom(who, divergence);
    this.#logOnce(error, `${who} ${divergence.kind} ${settled}`, { settled, isStored });
    if (settled) return { error, settled };
    if (this.#from === 0) this.#open = { error, since: clock.now(), who: new Map() };
    if (this.#open !== undefined && this.#open.who.size < MAX_OTHERS) this.#open.who.set(who, clock.now());
    if (isStored || clock.now() >= this.#noRebuildUntil) {
      this.#settling ??= this.#settle(index, divergence, error, isStored).finally(() => {
        this.#settling = undefined;
        this.#state = "open";
      });
    }
    return { error, settled };
  };

  get #from(): number {
    const forgotten = this.#parts.clock.now() - CLAIM_TTL_MS;
    return [...(this.#open?.who.values() ?? [])].filter((at) => at > forgotten).length;
  }

  async close(): Promise<void> {
    this.#stop.abort(nodeClosed());
    await this.#settling;
  }

  async #compare(index: IndexStore, chains: OtherPast["chains"]): Promise<Divergence | undefined> {
    try {
      return await compareChains(async (txId) => await index.chainsAt(txId), chains, "effects");
    } catch (error) {
      this.#parts.life.suspect(index, error);
      // The node has left the index or is leaving it, so there is nothing to compare.
      if (isCairnError(error, "INDEX_CORRUPT", "NOT_READY")) return undefined;
      throw error;
    }
  }

  #logOnce(
    { code, message, hint }: CairnError,
    what: string,
    { settled, isStored }: { readonly settled: boolean; readonly isStored: boolean },
  ): void {
    const { logger, clock } = this.#parts;
    if (this.#logged.has(what) || (!isStored && clock.now() < this.#noLineUntil)) return;
    if (this.#logged.size >= MAX_OTHERS) this.#logged.clear();
    this.#logged.add(what);
    this.#noLineUntil = clock.now() + LOG_GAP_MS;
    const next = settled
      ? "This node's index is right: it agrees with a rebuild, or the log showed its history, and not the other one."
      : "The node will compare its index with a rebuild from the log when its turn comes.";
    logger.error({ code, hint }, `${message} ${next}`);
  }

  async #settle(
    index: IndexStore,
    divergence: Divergence,
    error: CairnError,
    isStored: boolean,
  ): Promise<void> {
    const { life, logger, clock, check } = this.#parts;
    const { signal } = this.#stop;
    try {
      if (!(await this.#waitForTurn(index, isStored))) return;
      const begun = clock.now();
      try {
        const { log, txId } = index.state;
        const { agreeAt, differAt } = divergence;
        const found = await check.check(log.id, txId, signal, () => {}, agreeAt);
        // Differences after the compared transaction will be detected again.
        if (found.agrees && differAt <= txId) this.#right = { index, txId };
        this.#deferRebuilds(begun);
        this.#open = undefined;
      } catch (thrown) {
        if (signal.aborted || !isCairnError(thrown, "LOG_TRIMMED")) throw thrown;
        const undecidedError = undecided(error, divergence, thrown);
        if (isStored) return life.halt(index, undecidedError);
        this.#deferRebuilds(begun);
        if (this.#open !== undefined) this.#open.error = undecidedError;
        throw undecidedError;
      }
    } catch (thrown) {
      if (signal.aborted) return;
      // The next comparison that finds a difference starts this procedure again.
      const { code, hint } = isCairnError(thrown) ? thrown : { code: "INTERNAL", hint: undefined };
      const why = errorMessage(thrown);
      logger.warn({ code, hint }, `The index could not be compared with a rebuild: ${why}`);
    }
  }

  /** Waits for this node's turn: one compares its index at a time. Returns false if the difference is gone by then. */
  async #waitForTurn(index: IndexStore, isStored: boolean): Promise<boolean> {
    const { life, clock, random, othersFirst, askAgain } = this.#parts;
    const { signal } = this.#stop;
    const begun = clock.now();
    for (;;) {
      this.#state = "waiting";
      if (!(await clock.wait(MAX_PAUSE_MS * random(), signal))) return false;
      // This call also counts the nodes that differ.
      const differs = (await askAgain(signal)) || isStored;
      if (index !== life.index || !life.agrees || !differs) {
        this.#open = undefined;
        return false;
      }
      const isLate = clock.now() - begun > MAX_WAIT_MS;
      if (!isLate && (await othersFirst({ from: this.#from, state: "waiting" }, signal))) continue;
      this.#state = "comparing";
      if (isLate || !(await othersFirst({ from: this.#from, state: "comparing" }, signal))) return true;
    }
  }

  #deferRebuilds(begun: number): void {
    const now = this.#parts.clock.now();
    this.#noRebuildUntil = now + Math.max(MIN_REBUILD_GAP_MS, GAP_PER_REBUILD * (now - begun));
  }
}

/** Returns whether the log showed the history of an index where it differs, and not that of the other one. */
function outweighs(
  { unshown: ours = 0 }: Pick<IndexState, "unshown">,
  { kind, agreeAt }: Divergence,
  theirs: TxId = 0,
): boolean {
  return kind === "history" && theirs > agreeAt && ours <= agreeAt;
}

const SETTLED_BY =
  "Wait a few minutes: each node that detects the difference compares its index with a rebuild from the log, and continues from the rebuild if they differ.";

function differenceFrom(who: string, { kind, agreeAt, differAt }: Divergence): CairnError {
  const where =
    agreeAt === 0 ? `up to transaction ${differAt}` : `between transactions ${agreeAt} and ${differAt}`;
  const [code, what] =
    kind === "history"
      ? (["LOG_DIFFERENT", "contain different transactions of one log"] as const)
      : (["INDEX_CORRUPT", "derived different results from the same transactions"] as const);
  return new CairnError(code, `This index and ${who} ${what}, ${where}.`, SETTLED_BY);
}

function undecided(error: CairnError, { agreeAt }: Divergence, cause: CairnError): CairnError {
  const older = `, or a checkpoint at or before transaction ${agreeAt} and the log after it: name the store that has one in restore-from`;
  return new CairnError(
    error.code,
    `${error.message.replace(/\.$/, "")}, and nothing remains to show which of them is right: ${cause.message}`,
    {
      hint:
        `Restore the log, starting with its first message${agreeAt === 0 ? "" : older}, and start the node again. Or decide which of the ` +
        "two is right, and keep a copy of the other: if the index is, move the checkpoint's files out of the store; if the checkpoint is, " +
        "stop the node and move its <db-dir>/live away. Then start the node again. Nothing was deleted.",
      cause,
    },
  );
}
