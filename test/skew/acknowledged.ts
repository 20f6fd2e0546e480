/** An operation as POST /api/v1/tx accepts it. */
export type Operation =
  | readonly ["put", bucket: string, key: string, document: unknown]
  | readonly ["delete", bucket: string, key: string]
  | readonly ["match", bucket: string, key: string, revision: number | null];

/** A document as `cairn list --json` prints it, under `bucket namespace/name`. */
export interface StoredDocument {
  readonly revision: number;
  readonly document: unknown;
}

interface Acknowledged {
  readonly id: string;
  readonly ops: readonly Operation[];
}

/** The transactions that clients know to be acknowledged, and the documents that must exist because of them. */
export class AcknowledgedHistory {
  readonly #transactions = new Map<number, Acknowledged>();

  get size(): number {
    return this.#transactions.size;
  }

  /**
   * Records that a transaction was acknowledged with `txId`. Returns a description of the error if the acknowledgement
   * contradicts an earlier one.
   */
  add(txId: number, id: string, ops: readonly Operation[]): string | undefined {
    const earlier = this.#transactions.get(txId);
    this.#transactions.set(txId, { id, ops });
    return earlier === undefined
      ? undefined
      : `${id} and ${earlier.id} were both acknowledged as transaction ${txId}`;
  }

  /**
   * Returns a sentence for each transaction for which `transactionOf` returns a different id from the acknowledged one.
   */
  lost(transactionOf: (id: string) => number | undefined): string[] {
    return [...this.#transactions]
      .filter(([txId, { id }]) => transactionOf(id) !== txId)
      .map(
        ([txId, { id }]) =>
          `${id} was acknowledged as transaction ${txId}, but is ${transactionOf(id)} in the log`,
      );
  }

  /** Returns the documents that result from all transactions in the order of their ids. */
  documents(): Map<string, StoredDocument> {
    const stored = new Map<string, StoredDocument>();
    for (const [txId, { ops }] of [...this.#transactions].toSorted(([a], [b]) => a - b)) {
      const isLost = ops.some(
        ([kind, bucket, key, revision]) =>
          kind === "match" && (stored.get(`${bucket} ${key}`)?.revision ?? null) !== revision,
      );
      if (isLost) continue;
      for (const [kind, bucket, key, document] of ops) {
        if (kind === "put") stored.set(`${bucket} ${key}`, { revision: txId, document });
        if (kind === "delete") stored.delete(`${bucket} ${key}`);
      }
    }
    return stored;
  }
}

/** Returns a sentence for each of the first ten documents that differ. */
export function differences(
  expected: ReadonlyMap<string, StoredDocument>,
  found: ReadonlyMap<string, StoredDocument>,
): string[] {
  const text = (stored: StoredDocument | undefined): string =>
    stored === undefined ? "nothing" : JSON.stringify(stored);
  return [...new Set([...expected.keys(), ...found.keys()])]
    .filter((key) => text(expected.get(key)) !== text(found.get(key)))
    .slice(0, 10)
    .map((key) => `${key} is ${text(found.get(key))}, not ${text(expected.get(key))}`);
}
