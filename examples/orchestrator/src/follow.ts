import {
  type CairnClient,
  CairnClientError,
  type ClientDocument,
  type ClientTransaction,
  type Position,
} from "@cairn/client";

/**
 * A snapshot as of a transaction, followed by every transaction after it. A later `snapshot` replaces everything before
 * it.
 */
export type Followed =
  | {
      readonly kind: "snapshot";
      readonly txId: number;
      readonly position: Position;
      readonly documents: readonly Listed[];
    }
  | { readonly kind: "transaction"; readonly transaction: ClientTransaction };

/** A document of a snapshot. */
export interface Listed extends ClientDocument {
  readonly bucket: string;
}

/**
 * Yields the content of `buckets` and then every later transaction, once and in order, even while nodes come and go.
 * Ends when `signal` is aborted.
 */
export async function* follow(
  client: CairnClient,
  buckets: readonly string[],
  signal: AbortSignal,
): AsyncGenerator<Followed, void, void> {
  while (!signal.aborted) {
    const snapshot = await listAll(client, buckets, signal);
    yield snapshot;
    try {
      for await (const transaction of client.watch({ from: snapshot.position, signal })) {
        yield { kind: "transaction", transaction };
      }
    } catch (error) {
      // The client was disconnected for so long that the history was removed, so the current contents are listed again.
      if (!(error instanceof CairnClientError) || error.code !== "WATCH_COMPACTED") throw error;
    }
  }
}

/** Lists several buckets as of one transaction. */
async function listAll(
  client: CairnClient,
  buckets: readonly string[],
  signal: AbortSignal,
): Promise<Extract<Followed, { kind: "snapshot" }>> {
  let asOf: number | undefined;
  let position: Position = "0";
  const documents: Listed[] = [];
  for (const bucket of buckets) {
    let cursor: string | undefined;
    do {
      const query = { pageSize: 1_000, signal, ...(asOf === undefined ? {} : { asOf }) };
      const page = await client.page(bucket, query, cursor);
      asOf ??= page.txId;
      ({ position } = page);
      documents.push(...page.documents.map((document) => ({ ...document, bucket })));
      cursor = page.next;
    } while (cursor !== undefined);
  }
  return { kind: "snapshot", txId: asOf ?? 0, position, documents };
}
