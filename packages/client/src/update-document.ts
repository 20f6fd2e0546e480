import { splitKey } from "./request-parts.ts";
import type { ClientCalls, DocumentChange } from "./types/client-calls.ts";
import { hasCode } from "./types/client-error.ts";
import type { ClientDocument, WaitOptions } from "./types/client-types.ts";
import { retryPauseMs, wait } from "./types/timing.ts";

/** Replaces a document by what `change` returns for it, and again if another write comes first. */
export async function updateDocument<T>(
  client: Pick<ClientCalls, "get" | "put">,
  bucket: string,
  key: string,
  change: DocumentChange<T>,
  options: WaitOptions,
): Promise<ClientDocument<T> | undefined> {
  let refused: { readonly revision: number | null; readonly error: unknown } | undefined;
  for (let failures = 1; ; failures += 1) {
    const found = await client.get<T>(bucket, key, { ...options, linearizable: refused !== undefined });
    const revision = found?.revision ?? null;
    // No other write came first: the put is refused for another reason, as a queue refuses it.
    if (refused?.revision === revision) throw refused.error;
    const document = await change(found?.document);
    if (document === undefined) return found;
    try {
      const { txId } = await client.put(bucket, key, document, { ...options, ifRevision: revision });
      return { ...splitKey(key), revision: txId, document: document as T };
    } catch (error) {
      if (!hasCode(error, "CONFLICT")) throw error;
      refused = { revision, error };
    }
    await wait(retryPauseMs(failures), options.signal);
    options.signal?.throwIfAborted();
  }
}
