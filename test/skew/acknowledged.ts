/** An operation as POST /api/v1/tx takes it. */
export type Operation =
  | readonly ["put", bucket: string, key: string, document: unknown]
  | readonly ["delete", bucket: string, key: string]
  | readonly ["match", bucket: string, key: string, revision: number | null];

/** A document as `cairn list --json` prints it, under `bucket namespace/name`. */
export interface Held {
  readonly revision: number;
  readonly document: unknown;
}

interface Acknowledged {
  readonly id: string;
  readonly ops: readonly Operation[];
}

/** What nodes acknowledged, and what must be there for it: kept by the clients alone, without a look at the log or an index. */
export class AcknowledgedHistory {
  readonly #transactions = new Map<number, Acknowledged>();

  get size(): number {
    return this.#transactions.size;
  }

  /** A transaction was answered with `txId`. Answers what is wrong with that, if anything is. */
  add(txId: number, id: string, ops: readonly Operation[]): string | undefined {
    const there = this.#transactions.get(txId);
    this.#transactions.set(txId, { id, ops });
    return there === undefined
      ? undefined
      : `${id} and ${there.id} were both acknowledged as transaction ${txId}`;
  }

  /** Those that `transactionOf` does not know under the tx-id that they were acknowledged with. */
  lost(transactionOf: (id: string) => number | undefined): string[] {
    return [...this.#transactions]
      .filter(([txId, { id }]) => transactionOf(id) !== txId)
      .map(
        ([txId, { id }]) =>
          `${id} was acknowledged as transaction ${txId}, but is ${transactionOf(id)} in the log`,
      );
  }

  /** The documents that all of them come to, in the order of their tx-ids. */
  documents(): Map<string, Held> {
    const held = new Map<string, Held>();
    for (const [txId, { ops }] of [...this.#transactions].toSorted(([a], [b]) => a - b)) {
      const isLost = ops.some(
        ([kind, bucket, key, revision]) =>
          kind === "match" && (held.get(`${bucket} ${key}`)?.revision ?? null) !== revision,
      );
      if (isLost) continue;
      for (const [kind, bucket, key, document] of ops) {
        if (kind === "put") held.set(`${bucket} ${key}`, { revision: txId, document });
        if (kind === "delete") held.delete(`${bucket} ${key}`);
      }
    }
    return held;
  }
}

/** What of `found` is not as in `expected`, at most ten sentences; revisions are compared unless they may differ. */
export function differences(
  expected: ReadonlyMap<string, Held>,
  found: ReadonlyMap<string, Held>,
  { revisions = true }: { readonly revisions?: boolean } = {},
): string[] {
  const text = (held: Held | undefined): string =>
    held === undefined ? "nothing" : JSON.stringify(revisions ? held : held.document);
  return [...new Set([...expected.keys(), ...found.keys()])]
    .filter((key) => text(expected.get(key)) !== text(found.get(key)))
    .slice(0, 10)
    .map((key) => `${key} is ${text(found.get(key))} and not ${text(expected.get(key))}`);
}
