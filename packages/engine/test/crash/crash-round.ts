import { createHash } from "node:crypto";
import { mkdir, mkdtemp, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { isCairnError, type KvProvider, levelProvider } from "@cairn/kv";
import { anchorOf } from "../../src/log/anchor.ts";
import { type Chance, chanceOf } from "../faults/odd-values.ts";
import { seededRandom } from "@cairn/test-support/nodes/seeded-log";
import { type ClientParts, CrashClient } from "./crash-clients.ts";
import { BUCKET, CrashEvidence, requireSame } from "./crash-evidence.ts";
import { CrashMachine, NO_LOSS, type PowerLoss } from "./crash-machine.ts";
import { CrashNode, foundIn } from "./crash-node.ts";
import { requireReplayed } from "./replayed-rows.ts";

/** The number of occurrences of each event. */
export type CrashTally = Map<string, number>;

/** The number of power failures of a seed. */
const FAILURES = 2;
/** The number of transactions that all clients together send between two failures. */
const TRANSACTIONS = 40;
/** The number of steps within which most failures come. */
const STEPS = 110;

/**
 * Runs one seed: starts a node, lets clients write until its power fails, and starts it on what survived, several
 * times. Returns a description of the violation, or undefined.
 */
export async function crashedOnce(seed: number, tally: CrashTally): Promise<string | undefined> {
  const folder = await mkdtemp(path.join(tmpdir(), "cairn-crash-"));
  const round = new CrashRound(folder, seed, tally);
  try {
    await round.run();
    return undefined;
  } catch (error) {
    return `seed ${seed}, ${round.story.join("; ")}: ${String(error)}`;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** What power failures may have done to the files since they were last examined. */
interface Survivors {
  /** The device lost data that it had reported as flushed. */
  readonly lackPromised: boolean;
  /** The last transaction that clients could read. */
  readonly readable: number;
  /** The index may lack writes before others that survived. */
  readonly mayBeDamaged: boolean;
}

const WHOLE: Survivors = { lackPromised: false, readable: 0, mayBeDamaged: false };

class CrashRound {
  /** The steps of the round, for investigating a failed seed. */
  readonly story: string[] = [];
  readonly #folder: string;
  readonly #seed: number;
  readonly #chance: Chance;
  readonly #tally: CrashTally;
  readonly #evidence = new CrashEvidence();
  readonly #clients: number;
  readonly #bytes: number;
  readonly #provider: KvProvider;
  readonly #regressed: "rebuild" | "halt";
  #survivors: Survivors = WHOLE;

  constructor(folder: string, seed: number, tally: CrashTally) {
    this.#folder = folder;
    this.#seed = seed;
    this.#tally = tally;
    this.#chance = chanceOf(seededRandom(seed));
    this.#clients = this.#chance.pick([1, 2, 4, 8, 16, 32]);
    // With a small buffer, LevelDB replaces the index's write-ahead log with tables while the node runs.
    const isLarge = this.#chance.next() < 0.3;
    this.#bytes = isLarge ? 6_000 : 200;
    this.#provider = levelProvider(isLarge ? { writeBufferSize: 64 * 1024 } : {});
    this.#regressed = this.#chance.pick(["rebuild", "halt"]);
  }

  async run(): Promise<void> {
    await mkdir(this.#place(0));
    for (let life = 0; life < FAILURES; life += 1) {
      await this.#liveUntilFailure(life);
      await rm(this.#place(life), { recursive: true });
    }
    const idle = new CrashMachine(this.#place(FAILURES), "", {
      stopAt: 0,
      loss: NO_LOSS,
      chance: this.#chance,
    });
    const node = await this.#started(idle);
    try {
      // The node still accepts writes.
      await new CrashClient("last", this.#clientParts(node, idle), this.#chance).run(5);
      await this.#examine(node);
    } finally {
      idle.forget();
      await node.node.close();
    }
    for (const [what, times] of Object.entries(this.#evidence.counts)) this.#count(`answers: ${what}`, times);
  }

  async #liveUntilFailure(life: number): Promise<void> {
    const loss = this.#nextLoss();
    // Some failures come while the node starts, or replays what its index has lost.
    const stopAt = 1 + this.#chance.below(this.#chance.next() < 0.2 ? 12 : STEPS);
    const chance = chanceOf(seededRandom(this.#seed * 31 + life));
    const machine = new CrashMachine(this.#place(life), this.#place(life + 1), { stopAt, loss, chance });
    try {
      const node = await this.#started(machine);
      try {
        await this.#write(node, machine, life);
        machine.fail();
      } finally {
        await node.node.close();
      }
    } finally {
      machine.forget();
    }
    const { failedAt, steps } = machine;
    this.story.push(`step ${steps}: ${failedAt}, ${JSON.stringify(loss)}`);
    this.#count(`failed: ${failedAt}`);
    this.#survivors = {
      lackPromised: this.#survivors.lackPromised || loss.breaksPromises,
      readable: Math.max(this.#survivors.readable, machine.readable),
      mayBeDamaged: this.#survivors.mayBeDamaged || machine.mayHaveDamaged,
    };
  }

  #nextLoss(): PowerLoss {
    if (this.#chance.next() < 0.25) return { ...NO_LOSS, breaksPromises: true };
    const survival = () => this.#chance.pick(["all", "none", "none", "beginning", "pages"] as const);
    return { log: survival(), index: survival(), breaksPromises: false };
  }

  /** Starts the node on what survived, and examines it unless its power fails again before it is ready. */
  async #started(machine: CrashMachine): Promise<CrashNode> {
    const { folder } = machine;
    if (this.#survivors.lackPromised && this.#chance.next() < 0.5) await this.#regrow(folder);
    machine.observe();
    const node = await this.#start(folder, this.#regressed);
    try {
      await node.settled(() => machine.hasFailed);
      if (machine.hasFailed) return node;
      const last = await lastOf(node);
      if (this.#survivors.lackPromised) this.#evidence.forgetAfter(last);
      const isForeign = await hasOtherHistory(node);
      if (isForeign && !this.#survivors.lackPromised) {
        throw new Error(
          `the index contained transaction ${node.found?.txId}, and the log, which ends at ${last}, lacks it`,
        );
      }
      if (this.#survivors.readable > last && !this.#survivors.lackPromised) {
        throw new Error(`transaction ${this.#survivors.readable} could be read, and the log ends at ${last}`);
      }
      await this.#requireReaction(node, isForeign);
      if (!isForeign || this.#regressed === "rebuild") {
        await this.#examine(node);
        return node;
      }
    } catch (error) {
      await node.node.close();
      throw error;
    }
    await node.node.close();
    const rebuilt = await this.#start(folder, "rebuild");
    try {
      await rebuilt.settled(() => machine.hasFailed);
      if (!machine.hasFailed) await this.#examine(rebuilt);
    } catch (error) {
      await rebuilt.node.close();
      throw error;
    }
    return rebuilt;
  }

  async #start(folder: string, regressed: "rebuild" | "halt"): Promise<CrashNode> {
    return await CrashNode.start({ folder, id: "n", provider: this.#provider, regressed });
  }

  /**
   * Lets a log that has lost its end grow beyond the index before the index's node starts, so that only the content of
   * a message shows that the index has a different history.
   */
  async #regrow(folder: string): Promise<void> {
    const index = path.join(folder, "n-index");
    const found = await lastIndexed(this.#provider, path.join(index, "live"));
    const aside = path.join(this.#folder, "aside");
    await rename(index, aside);
    const node = await this.#start(folder, "rebuild");
    try {
      await node.settled();
      const last = await lastOf(node);
      this.#evidence.forgetAfter(last);
      const wanted = found > last ? found + 1 - last : 0;
      for (let n = 0; n < wanted; n += 1) {
        const transaction = { ops: [["put", BUCKET, "default/regrown", { n }]] } as const;
        this.#evidence.stored((await node.node.submit(transaction)).txId, transaction);
      }
    } finally {
      await node.node.close();
      await rm(index, { recursive: true });
      await rename(aside, index);
    }
  }

  /** Requires that the node refuses an index of a different history, and keeps any other. */
  async #requireReaction({ node }: CrashNode, isForeign: boolean): Promise<void> {
    const { failure, join } = await node.status();
    const moved = join.movedAside.map(({ code }) => code);
    const reaction = failure === null ? moved.join() : `failed: ${failure.code} ${failure.message}`;
    if (isForeign) {
      this.#count(
        `the index is ahead of the log: ${failure === null ? reaction : `failed: ${failure.code}`}`,
      );
      if (failure === null ? moved.includes("LOG_REGRESSED") : failure.code === "LOG_REGRESSED") {
        if (this.#regressed === "halt") await requireRefused(node);
        return;
      }
      throw new Error(
        `the index has a different history from the log, and the node's reaction is: ${reaction || "none"}`,
      );
    }
    const isKept = moved.every((code) => code === "INDEX_CORRUPT" && this.#survivors.mayBeDamaged);
    if (failure !== null || !isKept) throw new Error(`the node did not continue: ${reaction}`);
    this.#count(moved.length === 0 ? "continued" : "continued with a new index");
  }

  /** Compares the node with its log, and the log with what clients have learned. */
  async #examine(started: CrashNode): Promise<void> {
    const { node, log } = started;
    await started.settled();
    const messages = await started.messages();
    const fold = this.#evidence.examine(messages);
    const { digest } = await node.digest({ minTx: fold.txId });
    if (digest !== fold.digest()) throw new Error("the index has a different digest from a fold of the log");
    for (const { position } of messages.slice(1)) {
      const outcome = await node.outcome(position);
      requireSame("the outcome", outcome ?? { txId: position, committed: false }, fold);
    }
    await requireReplayed(started.kv, { id: fold.logId, name: log.name }, messages);
    this.#survivors = WHOLE;
  }

  async #write(started: CrashNode, machine: CrashMachine, life: number): Promise<void> {
    if (machine.hasFailed) return;
    const parts = this.#clientParts(started, machine);
    const clients = Array.from({ length: this.#clients }, async (_, index) => {
      const chance = chanceOf(seededRandom(hashOf(`${this.#seed} ${life} ${index}`)));
      await new CrashClient(`${life}-${index}`, parts, chance).run(
        Math.ceil(TRANSACTIONS / this.#clients) + 1,
      );
    });
    await Promise.all(clients);
  }

  #clientParts({ node, log }: CrashNode, machine: CrashMachine): ClientParts {
    return { node, log, machine, evidence: this.#evidence, bytes: this.#bytes };
  }

  #place(life: number): string {
    return path.join(this.#folder, `life-${life}`);
  }

  #count(what: string, times = 1): void {
    this.#tally.set(what, (this.#tally.get(what) ?? 0) + times);
  }
}

async function lastOf(started: CrashNode): Promise<number> {
  const failure = await started.failure();
  if (failure !== null && failure.code !== "LOG_REGRESSED") {
    throw new Error(`the node did not continue: ${failure.code} ${failure.message}`);
  }
  return (await started.log.bounds()).last;
}

/**
 * Returns whether the log lacks the last transaction of the index that a node found, or holds another one in its place.
 */
async function hasOtherHistory({ found, log }: CrashNode): Promise<boolean> {
  if (found?.sha256 === undefined || found.txId === 0) return false;
  const message = await log.fetch(found.txId);
  return message === undefined || anchorOf(message).sha256 !== found.sha256;
}

/** Returns the last transaction of a closed index. */
async function lastIndexed(provider: KvProvider, folder: string): Promise<number> {
  const kv = await provider.open(folder);
  try {
    return (await foundIn(kv)).txId;
  } finally {
    await kv.close();
  }
}

async function requireRefused(node: CrashNode["node"]): Promise<void> {
  try {
    await node.get({ bucket: BUCKET, namespace: "default", name: "k1" });
  } catch (error) {
    if (isCairnError(error, "NOT_READY")) return;
    throw error;
  }
  throw new Error("an index with a different history from the log was served");
}

function hashOf(text: string): number {
  return createHash("sha256").update(text).digest().readInt32LE();
}
