import type { SeededRandom, SimulatedFile, StoreContents } from "@cairn/checkpoint/testing";
import type { SimulatedLog } from "./simulated-log.ts";

/** The number of checkpoints that remain when a new one is saved; the newest verified one remains as well. */
const KEPT = 2;
/** The time after which a reservation has ended (ms). */
const RESERVED_MS = 300_000;

/** The checkpoints and reservations in a store, which decide what may be removed from the backup. */
export class SimulatedCheckpoints {
  readonly #contents: StoreContents;
  readonly #log: SimulatedLog;
  readonly #random: SeededRandom;
  #listed: { readonly name: string; readonly txId: number; readonly verified: boolean }[] = [];
  #reserved: { readonly name: string; readonly txId: number; readonly until: number }[] = [];

  constructor(contents: StoreContents, log: SimulatedLog, random: SeededRandom) {
    this.#contents = contents;
    this.#log = log;
    this.#random = random;
  }

  /** The last transaction of the newest verified checkpoint. */
  get verified(): number | undefined {
    return this.#listed.findLast(({ verified }) => verified)?.txId;
  }

  /** The lowest transaction that a checkpoint in the store, or a reservation, names. */
  get needed(): number {
    const now = this.#contents.now();
    const reserved = this.#reserved.filter(({ until }) => until > now);
    return Math.min(...[...this.#listed, ...reserved].map(({ txId }) => txId));
  }

  /** Saves a checkpoint at the log's end, and removes old ones, some of which a node is restoring. */
  save(): void {
    const takenAt = new Date(this.#contents.now()).toISOString().replaceAll(":", "-");
    const suffix = String(this.#contents.writes).padStart(8, "0").slice(-8);
    const txId = this.#log.bounds().last;
    const name = `checkpoint-${txId}-${takenAt}-${suffix}`;
    this.#put(`${name}.json`, "{}");
    this.#listed.push({ name, txId, verified: this.#random.chance(0.5) });
    const old = this.#listed.slice(0, -KEPT).filter((one) => one.txId !== this.verified);
    for (const one of old) {
      if (this.#random.chance(0.5)) this.#reserve(one.name, one.txId);
      this.#contents.files.delete(`${one.name}.json`);
    }
    this.#listed = this.#listed.filter((one) => !old.includes(one));
  }

  #reserve(checkpoint: string, txId: number): void {
    const until = this.#contents.now() + RESERVED_MS;
    const name = `reservations/${String(this.#contents.writes).padStart(16, "0")}.json`;
    const expiresAt = new Date(until).toISOString();
    this.#put(name, JSON.stringify({ checkpoint, node: "restoring", expiresAt }));
    this.#reserved.push({ name, txId, until });
  }

  #put(name: string, text: string): void {
    this.#contents.writes += 1;
    const file: SimulatedFile = {
      content: Buffer.from(text),
      modifiedAt: this.#contents.now(),
      tag: `tag-${this.#contents.writes}`,
    };
    this.#contents.files.set(name, file);
  }
}
