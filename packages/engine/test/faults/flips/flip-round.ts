import { setTimeout as delay } from "node:timers/promises";
import type { Transaction } from "@cairn/client";
import { type Chance, chanceOf } from "../odd-values.ts";
import { seededRandom } from "@cairn/test-support/nodes/seeded-log";
import { type EmbeddedPlace, leaveRecords, type PristineNode } from "./embedded-place.ts";
import { type Flip, flipSomewhere } from "./flip-damage.ts";
import { examine, settled, type Tolerance, type Verdict } from "./flip-examination.ts";
import { lastPut, randomHistory } from "./flip-history.ts";
import { type Acknowledged, FlipOracle } from "./flip-oracle.ts";
import { PATIENCE_MS, Refused, type Subject } from "./flip-subject.ts";
import { SupervisedNode } from "./supervised-node.ts";

/** Starts a node on the files in a folder. */
export type StartNode = (folder: string) => Promise<Subject>;

/** The number of occurrences of each event. */
export type FlipTally = Map<string, number>;

/**
 * The moment at which bytes are changed: while the node runs, while it is stopped, or while it has lost its index and
 * has to restore.
 */
type Moment = "running" | "down" | "before a restore";

const RETRY_MS = 10;

/**
 * Runs one seed: changes bytes of a copy, and sends all queries to the node. Returns a description of the violation, or
 * undefined.
 */
export async function flippedOnce(
  start: StartNode,
  pristine: PristineNode,
  seed: number,
  tally: FlipTally,
): Promise<string | undefined> {
  const place = await pristine.copy();
  const round = new FlipRound(start, place, pristine, chanceOf(seededRandom(seed)), tally);
  try {
    await round.run();
    return undefined;
  } catch (error) {
    const cause = error instanceof Error && error.cause !== undefined ? `: ${String(error.cause)}` : "";
    return `seed ${seed}, ${round.story.join("; ")}: ${String(error)}${cause}`;
  } finally {
    await round.node.stop();
    await place.close();
  }
}

class FlipRound {
  /** The steps of the round, for investigating a failed seed. */
  readonly story: string[] = [];
  readonly node: SupervisedNode;
  readonly #place: EmbeddedPlace;
  readonly #acknowledged: readonly Acknowledged[];
  readonly #oracle: FlipOracle;
  readonly #chance: Chance;
  readonly #tally: FlipTally;
  readonly #flips: Flip[] = [];
  /** Whether an index table was changed since the node last started. */
  #isUnchecked = false;

  constructor(
    start: StartNode,
    place: EmbeddedPlace,
    { logId, acknowledged }: PristineNode,
    chance: Chance,
    tally: FlipTally,
  ) {
    this.node = new SupervisedNode(
      () => start(place.folder),
      ({ message }) => {
        this.story.push(`LevelDB ended the process: ${message}`);
        this.#count(`ended by LevelDB: ${/Assertion.*failed/.exec(message)?.[0] ?? message}`);
      },
    );
    this.#place = place;
    this.#acknowledged = acknowledged;
    this.#oracle = new FlipOracle(logId, acknowledged);
    this.#chance = chance;
    this.#tally = tally;
  }

  async run(): Promise<void> {
    const moment = this.#chance.pick<Moment>(["running", "running", "down", "before a restore"]);
    if (this.#chance.next() < 0.3)
      await leaveRecords(this.#place.folder, this.#chance.pick([-1_000, 60_000]));
    if (moment === "running") await this.#runs();
    else {
      if (moment === "before a restore") await this.#place.loseIndex();
      await this.#damage(moment);
      await this.node.start();
      if ((await this.#examined("never")) === "halted") return;
    }
    if (!(await this.#writes())) return;
    await this.#restart();
    if ((await this.#examined("never")) === "halted") return;
    if (this.#chance.next() < 0.3) await this.#restores();
  }

  /** Changes bytes of a running node that has read only some of its files. */
  async #runs(): Promise<void> {
    await this.node.start();
    const questions = this.#oracle.questions(this.#chance.below);
    const asked = questions.slice(0, this.#chance.below(questions.length));
    await this.node.with(async (subject) => {
      await settled(subject);
      for (const question of asked) await subject.ask(question);
    });
    await this.#damage("running");
    await this.#examined(this.#isUnchecked ? "until-scrubbed" : "never");
  }

  async #damage(moment: Moment): Promise<void> {
    const { index, log, store } = this.#place.areas;
    const areas = moment === "before a restore" ? [store, store, log] : [index, index, index, store, log];
    const [first = store, ...others] = areas;
    for (let left = 1 + this.#chance.below(3); left > 0; left -= 1) {
      const flip = await flipSomewhere(
        this.#place.folder,
        [this.#chance.pick([first, ...others])],
        this.#chance,
      );
      if (flip === undefined) continue;
      this.#flips.push(flip);
      this.#isUnchecked ||= flip.kind === "index table";
      this.story.push(`${moment}: ${flip.kind} ${flip.file} at ${flip.offset} of ${flip.size}`);
      this.#count(`flipped, ${moment}: ${flip.kind}`);
    }
  }

  async #restart(): Promise<void> {
    await this.node.stop();
    this.story.push("restarted");
    await this.node.start();
  }

  async #examined(tolerance: Tolerance): Promise<Verdict["end"]> {
    const { below } = this.#chance;
    const verdict = await this.node.with((subject) => examine(subject, this.#oracle, tolerance, below));
    const { end, failure, refusals, absent, older } = verdict;
    if (absent + older > 0) this.#count(`hidden until the scrub: ${absent > 0 ? "absent" : "older"}`);
    if (end === "halted") {
      // The log is the truth: while it is intact, a node has no reason to halt.
      if (!this.#isLogDamaged)
        throw new Error(`The log is intact, but the node halted: ${failure?.code} ${failure?.message}`);
      this.#count(`halted: ${failure?.code}`);
    } else if (end === "right") {
      const { movedAside, skipped } = await this.node.with((subject) => subject.health());
      this.#count(movedAside + skipped + refusals === 0 ? "right at once" : "right after a repair");
    }
    this.story.push(end);
    return end;
  }

  /** Writes like clients that resend each write until it is acknowledged. Returns false if the node halted instead. */
  async #writes(): Promise<boolean> {
    // Sometimes there are many writes, so that changed tables are merged with others.
    const many = this.#chance.next() < 0.4 ? randomHistory(this.#chance, 40, "") : [];
    for (const [n, transaction] of [...many, lastPut(this.#chance, "")].entries()) {
      const id = `after-${this.#oracle.txId}-${n}`;
      const acknowledged = await this.#submitted({ ...transaction, id });
      if (!acknowledged) return false;
    }
    return await this.#writesAgain();
  }

  /** Resubmits a transaction acknowledged before the damage, which must not be applied again. */
  async #writesAgain(): Promise<boolean> {
    const sent = this.#acknowledged.filter(({ transaction }) => transaction.id !== undefined);
    const again = sent[this.#chance.below(sent.length)];
    return again === undefined || (await this.#submitted(again.transaction, again.txId));
  }

  async #submitted(transaction: Transaction, before?: number): Promise<boolean> {
    // A request that waits for a node which has halted ends only when its own timeout expires.
    const deadline = performance.now() + 3 * PATIENCE_MS;
    const refusals = new Map<string, string>();
    while (performance.now() < deadline) {
      try {
        const acknowledged = await this.node.with(async (subject) => {
          const failure = await settled(subject);
          if (failure === undefined) return await subject.submit(transaction);
          this.#count(`halted: ${failure.code}`);
          return undefined;
        });
        if (acknowledged === undefined) return false;
        const { txId, time } = acknowledged;
        // A log that forgot the id stores the transaction again, and the index recognizes it.
        if (txId !== before) this.#oracle.add({ txId, transaction, time });
        return true;
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
        // If the earlier message is damaged, the resent transaction cannot be compared with it. All others are still
        // accepted.
        const isDamaged = before !== undefined && error.code === "LOG_GAP" && this.#isLogDamaged;
        if (isDamaged) return true;
        if (!refusals.has(error.code)) this.#count(`a write was refused: ${error.code}`);
        refusals.set(error.code, error.message);
        await delay(RETRY_MS);
      }
    }
    throw new Error(`The node is ready and takes no transaction: ${[...refusals.values()].join("; ")}`);
  }

  /** Restores from the store: a checkpoint that was saved after the damage must also be correct. */
  async #restores(): Promise<void> {
    try {
      await this.node.with((subject) => subject.checkpoint());
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      this.#count(`a checkpoint was refused: ${error.code}`);
    }
    await this.node.stop();
    await this.#place.loseIndex();
    this.story.push("lost its index");
    await this.node.start();
    await this.#examined("never");
  }

  get #isLogDamaged(): boolean {
    return this.#flips.some(({ kind }) => kind.startsWith("log "));
  }

  #count(what: string): void {
    this.#tally.set(what, (this.#tally.get(what) ?? 0) + 1);
  }
}
