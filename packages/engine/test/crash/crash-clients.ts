import { setImmediate } from "node:timers/promises";
import type { Json, Transaction, TxOperation } from "@cairn/client";
import { isCairnError } from "@cairn/kv";
import type { TxLog } from "../../src/log/tx-log.ts";
import type { CairnNode } from "../../src/node/node.ts";
import { encodeTransaction } from "../../src/transactions/transaction-codec.ts";
import { validTransaction } from "../../src/transactions/validate-transaction.ts";
import type { Chance } from "../faults/odd-values.ts";
import { BUCKET, type CrashEvidence } from "./crash-evidence.ts";
import type { CrashMachine } from "./crash-machine.ts";

const KEYS = 8;

/** The parts that the clients of one life of a node share. */
export interface ClientParts {
  readonly node: CairnNode;
  readonly log: TxLog;
  readonly machine: CrashMachine;
  readonly evidence: CrashEvidence;
  /** The size of the largest documents in bytes. */
  readonly bytes: number;
}

/**
 * A client that writes one transaction after another and records what it learns, until the power fails. What it learns
 * afterwards does not count.
 */
export class CrashClient {
  readonly #parts: ClientParts;
  readonly #name: string;
  readonly #chance: Chance;
  #sent = 0;

  constructor(name: string, parts: ClientParts, chance: Chance) {
    this.#name = name;
    this.#parts = parts;
    this.#chance = chance;
  }

  /** Sends this many transactions. */
  async run(transactions: number): Promise<void> {
    const { machine, evidence } = this.#parts;
    try {
      for (let left = transactions; left > 0 && !machine.hasFailed; left -= 1) await this.#sendOne();
    } catch (error) {
      if (!machine.hasFailed) evidence.violations.push(`client ${this.#name}: ${String(error)}`);
    }
  }

  async #sendOne(): Promise<void> {
    const { evidence } = this.#parts;
    for (let turns = this.#chance.below(4); turns > 0; turns -= 1) await setImmediate();
    const resent = evidence.unknown.pop();
    if (resent !== undefined) return await this.#send(resent, { isNew: false });
    const kind = this.#chance.next();
    const earlier = evidence.withId[this.#chance.below(evidence.withId.length)];
    if (kind < 0.1 && earlier !== undefined) return await this.#send(earlier, { isNew: false });
    if (kind < 0.14 && earlier?.id !== undefined) return await this.#sendOtherContent(earlier.id);
    if (kind < 0.22 && earlier !== undefined) return await this.#publish(earlier);
    const ops = kind < 0.5 ? await this.#conditional() : this.#unconditional();
    const id = this.#chance.next() < 0.5 ? { id: `${this.#name}-${(this.#sent += 1)}` } : {};
    await this.#send({ ops, ...id }, { isNew: true });
  }

  async #send(transaction: Transaction, { isNew }: { readonly isNew: boolean }): Promise<void> {
    const { node, machine, evidence } = this.#parts;
    const { acknowledged } = evidence;
    try {
      const submitted = await node.submit(transaction);
      if (machine.hasFailed) return;
      evidence.stored(submitted.txId, transaction);
      if (isNew && submitted.txId <= acknowledged) {
        throw new Error(`got transaction ${submitted.txId} after ${acknowledged} had been acknowledged`);
      }
      const { outcome } = await node.commitResult(submitted);
      if (!machine.hasFailed) evidence.answered(outcome);
    } finally {
      if (machine.hasFailed && transaction.id !== undefined) evidence.unknown.push(transaction);
    }
  }

  async #sendOtherContent(id: string): Promise<void> {
    const { node, evidence, machine } = this.#parts;
    try {
      await node.submit({ ops: [["put", BUCKET, "default/other", { other: this.#name }]], id });
    } catch (error) {
      if (!isCairnError(error, "CONFLICT")) throw error;
      evidence.counts.refused += 1;
      return;
    }
    if (!machine.hasFailed) throw new Error(`the id ${id} was accepted for other content`);
  }

  /** Publishes a transaction once more, like a client that does not use the log's check of ids. */
  async #publish(transaction: Transaction): Promise<void> {
    const { node, log, machine, evidence } = this.#parts;
    const message = encodeTransaction(validTransaction(transaction), (await log.id()) ?? "");
    evidence.published.add(Buffer.from(message).toString("latin1"));
    const { position } = await log.append(message);
    if (machine.hasFailed) return;
    evidence.stored(position, transaction);
    const { outcome } = await node.commitResult(position);
    if (!machine.hasFailed) evidence.answered(outcome);
  }

  /** Returns a change of a document as the client has just read it, which other clients may change meanwhile. */
  async #conditional(): Promise<TxOperation[]> {
    const key = this.#key();
    const found = await this.#read(key);
    const revision = this.#chance.next() < 0.1 ? 1_000_000 : (found ?? null);
    const change: TxOperation =
      this.#chance.next() < 0.8 ? ["put", BUCKET, key, this.#document()] : ["delete", BUCKET, key];
    return [["match", BUCKET, key, revision], change];
  }

  async #read(key: string): Promise<number | undefined> {
    const { node, machine, evidence } = this.#parts;
    const [namespace = "", name = ""] = key.split("/");
    const found = await node.get({ bucket: BUCKET, namespace, name });
    if (found === undefined) return undefined;
    if (!machine.hasFailed) evidence.seen(key, found.revision, found.json);
    return found.revision;
  }

  #unconditional(): TxOperation[] {
    const keys = new Set(Array.from({ length: 1 + this.#chance.below(3) }, () => this.#key()));
    return [...keys].map((key) =>
      this.#chance.next() < 0.8 ? ["put", BUCKET, key, this.#document()] : ["delete", BUCKET, key],
    );
  }

  #key(): string {
    return `default/k${this.#chance.below(KEYS)}`;
  }

  #document(): Json {
    return {
      by: this.#name,
      n: this.#chance.below(1_000),
      text: "x".repeat(this.#chance.below(this.#parts.bytes)),
    };
  }
}
