import type { ClientCalls } from "./types/client-calls.ts";
import { CairnClientError } from "./types/client-error.ts";
import { requireJson } from "./request-parts.ts";
import type { ClientPage, LoadedDocuments, LoadOptions, Removed, RemoveQuery } from "./types/client-types.ts";
import type { Json, TxOperation, TxOutcome } from "./types/transaction.ts";

/** A transaction holds at most so many documents, and ends with the one with which it exceeds so many characters. */
const MAX_DOCUMENTS = 100;
const MAX_CHARACTERS = 256 * 1024;
const MAX_PENDING = 8;

/** Writes documents in transactions of bounded size. If a key occurs more than once, the last document stays. */
export async function loadDocuments<T>(
  client: Pick<ClientCalls, "transact">,
  bucket: string,
  documents: LoadedDocuments<T>,
  { onProgress, ...options }: LoadOptions,
): Promise<{ readonly documents: number }> {
  const pending = new Map<Promise<void>, ReadonlySet<string>>();
  let failed: { readonly error: unknown } | undefined;
  let loaded = 0;
  let ops: TxOperation[] = [];
  let keys = new Set<string>();
  let characters = 0;
  const send = (): void => {
    const sent = ops;
    const transaction = (async () => {
      try {
        requireCommitted(await client.transact({ ops: sent }, options));
        loaded += sent.length;
        onProgress?.(loaded);
      } catch (error) {
        failed ??= { error };
      }
    })();
    pending.set(transaction, keys);
    void transaction.finally(() => pending.delete(transaction));
    [ops, keys, characters] = [[], new Set(), 0];
  };
  for await (const { key, document } of documents) {
    if (keys.has(key)) send();
    // Transactions that are under way together may reach the log in any order.
    while (pending.size >= MAX_PENDING || [...pending.values()].some((others) => others.has(key)))
      await Promise.race(pending.keys());
    if (failed !== undefined) break;
    requireJson(document);
    ops.push(["put", bucket, key, document as Json]);
    keys.add(key);
    characters += JSON.stringify(document).length;
    if (ops.length === MAX_DOCUMENTS || characters >= MAX_CHARACTERS) send();
  }
  if (ops.length > 0 && failed === undefined) send();
  await Promise.all(pending.keys());
  if (failed !== undefined) throw failed.error;
  return { documents: loaded };
}

function requireCommitted({ committed, reason, txId }: TxOutcome): void {
  if (committed) return;
  throw new CairnClientError("CONFLICT", `Documents were refused: ${reason}.`, { details: { txId } });
}

/** Deletes the documents of a list, a page at a time. */
export async function deleteDocuments(
  client: Pick<ClientCalls, "page" | "transact">,
  bucket: string,
  { onProgress, signal, timeoutMs, ...selection }: RemoveQuery,
): Promise<Removed> {
  const options = { signal, timeoutMs };
  const query = { ...options, ...selection, pageSize: MAX_DOCUMENTS };
  let documents = 0;
  let cursor: string | undefined;
  do {
    const page: ClientPage = await client.page(bucket, query, cursor);
    cursor = page.next;
    const keys = page.documents.map(({ namespace, name }) => `${namespace}/${name}`);
    const ops = keys.map((key): TxOperation => ["delete", bucket, key]);
    if (ops.length > 0) requireCommitted(await client.transact({ ops }, options));
    documents += ops.length;
    onProgress?.(documents);
  } while (cursor !== undefined);
  return { documents };
}
