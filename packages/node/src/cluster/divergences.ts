import type { Clock } from "@cairn/checkpoint";
import { CairnError, errorMessage, isCairnError } from "@cairn/kv";
import type { Logger } from "pino";
import type { NodeStatus, TxId } from "@cairn/client";
import type { ComparePast, OtherPast } from "../checkpoints/compare-past.ts";
import type { Turn } from "./announce-chains.ts";
import { compareChains, type Divergence } from "../index/chains/compare-chains.ts";
import type { IndexStore } from "../index/index-store.ts";
import { INDEX_VERSION } from "../index/rows/index-state.ts";
import { isoTime } from "../text/iso-time.ts";
import type { ComparedNode } from "./compared-node.ts";
import type { SelfCheck } from "./self-check.ts";

/** What {@link Divergences} work with. */
export interface DivergenceParts {
  readonly life: Pick<ComparedNode, "index" | "agrees" | "suspect" | "halt">;
  readonly check: Pick<SelfCheck, "check">;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly random: () => number;
  /** Whether another node compares its index with a rebuild, or goes before this one. */
  readonly othersFirst: (turn: Omit<Turn, "instance">, signal: AbortSignal) => Promise<boolean>;
  /** Tells the other nodes the chains once more; whether any of them differs. */
  readonly askAgain: (signal: AbortSignal) => Promise<boolean>;
}

/** Before a rebuild begins, so that of many nodes that notice at once one is the first (ms). */
const MOST_PAUSE_MS = 2_000;
/** For how long others go first: what they say of themselves anybody could say (ms). */
const MOST_WAIT_MS = 120_000;
/** Anybody who can reach the nodes may send claims: those alone make no node rebuild all the time, nor fill its log. */
const LEAST_REST_MS = 600_000;
const REST_A_REBUILD = 20;
const QUIET_MS = 5_000;
/** For how long a claim stands in the status that is not repeated. */
const FORGOTTEN_MS = 600_000;

/** So many are counted. */
const MOST_WHO = 1_000;

interface Open {
  error: CairnError;
  readonly since: number;
  /** When each of them was met last. */
  readonly who: Map<string, number>;
}

/**
 * Compares this node's past with that of every other node and checkpoint that it meets. Where two differ, nobody's word is taken and no
 * majority is looked for: the node compares its index with a rebuild out of the log, one node after the other, and leaves an index that is
 * not the log's. Where a checkpoint differs and nothing is left from before the two part, it halts.
 */
export class Divergences {
  readonly #parts: DivergenceParts;
  readonly #stop = new AbortController();
  /** Up to where the index was found to be what the log gives. */
  #right: { readonly index: IndexStore; readonly txId: TxId } | undefined;
  /** What is not settled. */
  #open: Open | undefined;
  #state: "open" | "waiting" | "comparing" = "open";
  #settling: Promise<void> | undefined;
  #restUntil = 0;
  #quietUntil = 0;
  /** Who was told of, and how it stands: once each. */
  readonly #told = new Set<string>();

  constructor(parts: DivergenceParts) {
    this.#parts = parts;
  }

  /** What is not settled yet. */
  get status(): NodeStatus["index"]["divergence"] {
    const from = this.#from;
    if (this.#open === undefined || from === 0) return null;
    const { error, since } = this.#open;
    const { code, message, hint = "" } = error;
    return { since: isoTime(since), code, message, hint, from, state: this.#state };
  }

  readonly comparePast: ComparePast = async ({ who, isStored, log, chains }) => {
    const { life, clock } = this.#parts;
    const { index, agrees } = life;
    if (index === undefined || !agrees || index.state.log.id !== log) return undefined;
    const divergence = await this.#compare(index, chains);
    if (index !== life.index) return undefined;
    if (divergence === undefined) {
      this.#open?.who.delete(who);
      return undefined;
    }
    const settled = this.#right?.index === index && divergence.differAt <= this.#right.txId;
    const error = differenceFrom(who, divergence);
    this.#tell(error, `${who} ${divergence.kind} ${settled}`, { settled, isStored });
    if (settled) return { error, settled };
    if (this.#from === 0) this.#open = { error, since: clock.now(), who: new Map() };
    if (this.#open !== undefined && this.#open.who.size < MOST_WHO) this.#open.who.set(who, clock.now());
    if (isStored || clock.now() >= this.#restUntil) {
      this.#settling ??= this.#settle(index, divergence, error, isStored).finally(() => {
        this.#settling = undefined;
        this.#state = "open";
      });
    }
    return { error, settled };
  };

  /** How many others have another past, as far as that was said lately. */
  get #from(): number {
    const forgotten = this.#parts.clock.now() - FORGOTTEN_MS;
    return [...(this.#open?.who.values() ?? [])].filter((at) => at > forgotten).length;
  }

  async close(): Promise<void> {
    this.#stop.abort(new CairnError("NOT_READY", "The node is stopping."));
    await this.#settling;
  }

  async #compare(
    index: IndexStore,
    { version, values }: OtherPast["chains"],
  ): Promise<Divergence | undefined> {
    try {
      return await compareChains(
        async (txId) => await index.chainsAt(txId),
        values,
        version === INDEX_VERSION,
      );
    } catch (error) {
      this.#parts.life.suspect(index, error);
      // Left, or being left: there is nothing to compare.
      if (isCairnError(error, "INDEX_CORRUPT") || isCairnError(error, "NOT_READY")) return undefined;
      throw error;
    }
  }

  #tell(
    { code, message, hint }: CairnError,
    what: string,
    { settled, isStored }: { readonly settled: boolean; readonly isStored: boolean },
  ): void {
    const { logger, clock } = this.#parts;
    if (this.#told.has(what) || (!isStored && clock.now() < this.#quietUntil)) return;
    if (this.#told.size >= MOST_WHO) this.#told.clear();
    this.#told.add(what);
    this.#quietUntil = clock.now() + QUIET_MS;
    const next = settled
      ? "This node's index was compared with a rebuild and is what the log gives."
      : "The node compares its index with a rebuild out of the log as soon as it is its turn.";
    logger.error({ code, hint }, `${message} ${next}`);
  }

  /** Finds out whether this node's index is the right one. */
  async #settle(
    index: IndexStore,
    divergence: Divergence,
    error: CairnError,
    isStored: boolean,
  ): Promise<void> {
    const { life, logger, clock } = this.#parts;
    const { signal } = this.#stop;
    try {
      if (!(await this.#waitForTurn(index, isStored))) return;
      const begun = clock.now();
      try {
        await this.#checkIndex(index, divergence);
        this.#rest(begun);
        this.#open = undefined;
      } catch (thrown) {
        if (signal.aborted || !isCairnError(thrown, "LOG_TRIMMED")) throw thrown;
        const undecidedError = undecided(error, divergence, thrown);
        if (isStored) return life.halt(index, undecidedError);
        this.#rest(begun);
        if (this.#open !== undefined) this.#open.error = undecidedError;
        throw undecidedError;
      }
    } catch (thrown) {
      if (signal.aborted) return;
      // Whoever is met next begins it anew.
      const { code, hint } = isCairnError(thrown) ? thrown : { code: "INTERNAL", hint: undefined };
      const why = errorMessage(thrown);
      logger.warn({ code, hint }, `The index could not be compared with a rebuild: ${why}`);
    }
  }

  /** One node compares itself at a time. False where nothing is left to find out when it is this one's turn. */
  async #waitForTurn(index: IndexStore, isStored: boolean): Promise<boolean> {
    const { life, clock, random, othersFirst, askAgain } = this.#parts;
    const { signal } = this.#stop;
    const begun = clock.now();
    for (;;) {
      this.#state = "waiting";
      if (!(await clock.wait(MOST_PAUSE_MS * random(), signal))) return false;
      // Also to learn from how many it differs.
      const differs = (await askAgain(signal)) || isStored;
      if (index !== life.index || !life.agrees || !differs) {
        this.#open = undefined;
        return false;
      }
      const isLate = clock.now() - begun > MOST_WAIT_MS;
      if (!isLate && (await othersFirst({ from: this.#from, state: "waiting" }, signal))) continue;
      this.#state = "comparing";
      if (isLate || !(await othersFirst({ from: this.#from, state: "comparing" }, signal))) return true;
    }
  }

  #rest(begun: number): void {
    const now = this.#parts.clock.now();
    this.#restUntil = now + Math.max(LEAST_REST_MS, REST_A_REBUILD * (now - begun));
  }

  async #checkIndex(index: IndexStore, { agreeAt, differAt }: Divergence): Promise<void> {
    const { log, txId } = index.state;
    const found = await this.#parts.check.check(log.id, txId, this.#stop.signal, () => {}, agreeAt);
    // What comes after what was compared is met again.
    if (found.agrees && differAt <= txId) this.#right = { index, txId };
  }
}

const SETTLED_BY =
  "Each node that meets the other compares its index with a rebuild out of the log, and goes on from that where it differs.";

function differenceFrom(who: string, { kind, agreeAt, differAt }: Divergence): CairnError {
  const where =
    agreeAt === 0 ? `up to transaction ${differAt}` : `between transactions ${agreeAt} and ${differAt}`;
  return kind === "history"
    ? new CairnError(
        "LOG_DIFFERENT",
        `This index and ${who} have different transactions of one log, ${where}.`,
        {
          hint: SETTLED_BY,
        },
      )
    : new CairnError(
        "INDEX_CORRUPT",
        `This index and ${who} made different things of the same transactions, ${where}.`,
        {
          hint: SETTLED_BY,
        },
      );
}

/** Neither the log nor a checkpoint tells which of the two is right. */
function undecided(error: CairnError, { agreeAt }: Divergence, cause: CairnError): CairnError {
  const older = `, or a checkpoint at or before transaction ${agreeAt} and the log after it: name the store that has one in restore-from`;
  return new CairnError(
    error.code,
    `${error.message.replace(/\.$/, "")}, and nothing is left that tells which of them is right: ${cause.message}`,
    {
      hint:
        `Needed is the log from its first message on${agreeAt === 0 ? "" : older}. Then start the node again. Or decide which of the ` +
        "two is right, and keep a copy of the other: if the index is, move the checkpoint's files out of the store; if the checkpoint is, " +
        "stop the node and move its <db-dir>/live away. Then start the node again. Nothing was deleted.",
      cause,
    },
  );
}
