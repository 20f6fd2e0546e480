import type { AnyOperation, TxOutcome } from "../types/transaction.ts";
import { nextTurn } from "../types/timing.ts";
import { type QueueAccess, transactUntil } from "./queue-access.ts";

/** The maximum number of characters of the operations of several shards in one transaction. */
const MAX_CHARACTERS = 262_144;

/** The operations of one shard. */
interface Part {
  readonly ops: readonly AnyOperation[];
  readonly signal: AbortSignal;
  readonly resolve: (outcome: TxOutcome) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Joins the transactions that the shards of a director submit in one turn of the event loop, such as their renewals.
 * Otherwise, a queue of many shards would need many times the transactions of one with few. If a joint transaction is
 * refused, or cannot be stored, each of its parts is submitted by itself.
 */
export class JointTransactions {
  readonly #access: Pick<QueueAccess, "transact">;
  #parts: Part[] = [];

  constructor(access: Pick<QueueAccess, "transact">) {
    this.#access = access;
  }

  /** Like {@link transactUntil}. If the signal is aborted, the transaction may still take effect. */
  async transact(ops: readonly AnyOperation[], signal: AbortSignal): Promise<TxOutcome> {
    return await new Promise((resolve, reject) => {
      const count = this.#parts.push({ ops, signal, resolve, reject });
      if (count === 1) void nextTurn().then(() => this.#submit());
    });
  }

  #submit(): void {
    const parts = this.#parts;
    this.#parts = [];
    let characters = Infinity;
    const groups: Part[][] = [];
    for (const part of parts) {
      const { length } = JSON.stringify(part.ops);
      characters += length;
      if (characters > MAX_CHARACTERS) {
        groups.push([]);
        characters = length;
      }
      groups.at(-1)?.push(part);
    }
    for (const group of groups) void this.#submitGroup(group);
  }

  async #submitGroup(group: readonly Part[]): Promise<void> {
    if (group.length > 1 && (await this.#isSubmittedJointly(group))) return;
    for (const { ops, signal, resolve, reject } of group)
      transactUntil(this.#access, ops, signal).then(resolve, reject);
  }

  async #isSubmittedJointly(group: readonly Part[]): Promise<boolean> {
    const abandoned = new AbortController();
    let waiting = group.length;
    const listeners = group.map(({ signal, reject }) => {
      const abandon = (): void => {
        reject(signal.reason);
        waiting -= 1;
        if (waiting === 0) abandoned.abort();
      };
      if (signal.aborted) abandon();
      else signal.addEventListener("abort", abandon, { once: true });
      return () => signal.removeEventListener("abort", abandon);
    });
    const ops = group.flatMap((part) => part.ops);
    try {
      const outcome = await transactUntil(this.#access, ops, abandoned.signal);
      if (outcome.committed) for (const { resolve } of group) resolve(outcome);
      return outcome.committed;
    } catch {
      // Each part that has this error will have it by itself.
      return false;
    } finally {
      for (const remove of listeners) remove();
    }
  }
}
