import type { DocumentSelection, TxOutcome } from "@cairn/client";
import {
  bucketPath,
  nextCursor,
  type NodeRequest,
  LIMITS,
  reasonWords,
  splitKey,
} from "@cairn/client/protocol";
import { CairnError } from "@cairn/kv";
import { bucketProblem, RESERVED_BUCKETS, shellWord } from "@cairn/text";
import type { NodeClient } from "./node-client.ts";

/** The key is a query parameter, because dot segments in a path would be resolved before the node receives it. */
export function documentRequest(bucket: string, key: string): { path: string; query: { key: string } } {
  return { path: pathOfBucket(bucket), query: { key } };
}

/** Throws `REQUEST_INVALID` for a name that no bucket can have: a reserved name is the path of another resource. */
export function pathOfBucket(bucket: string): string {
  const problem = bucketProblem(bucket);
  if (problem !== undefined) {
    const reserved = [...RESERVED_BUCKETS].join(", ");
    throw new CairnError(
      "REQUEST_INVALID",
      `Not a valid bucket name: ${problem}.`,
      `Use a name that matches [a-z][a-z0-9-]*, such as pods, and is not reserved. These names are reserved: ${reserved}.`,
    );
  }
  return bucketPath(bucket);
}

/** Yields pages, in total at most `limit` items; `more` if the list has others. `pageItems` is called for each page. */
export async function* pages<T>(
  client: Pick<NodeClient, "send">,
  { path, query }: Pick<NodeRequest, "path" | "query">,
  limit: number,
  pageItems: () => number = () => LIMITS.pageItems,
): AsyncGenerator<{ items: readonly T[]; more: boolean }, void> {
  let left = limit;
  let cursor: string | undefined;
  do {
    const answer = await client.send({
      path,
      query: { ...query, limit: Math.min(pageItems(), left), cursor },
    });
    const all = answer.body as readonly T[];
    cursor = nextCursor(answer);
    const items = all.slice(0, left);
    left -= items.length;
    yield { items, more: cursor !== undefined || items.length < all.length };
  } while (cursor !== undefined && left > 0);
}

/** Adds a notice if a prefix of which nothing was found may be meant for keys, as commands print them. */
export function explainPrefix(
  run: { notice(sentence: string): void },
  { namespace, prefix = "" }: DocumentSelection,
): void {
  const meant = splitKey(prefix);
  const isOther = namespace !== undefined && namespace !== meant.namespace;
  if (!prefix.includes("/") || meant.namespace === "" || isOther) return;
  const names = meant.name === "" ? "" : ` --prefix ${shellWord(meant.name)}`;
  run.notice(
    `a prefix is of names, without the namespace: --namespace ${shellWord(meant.namespace)}${names} selects the keys that begin with ${prefix}.`,
  );
}

export function abortedError({ txId, reason }: TxOutcome): CairnError {
  return new CairnError(
    "CONFLICT",
    `Transaction ${txId} was aborted: ${reasonWords(reason)}.`,
    "Correct the transaction and submit it again. None of its operations took effect.",
  );
}
