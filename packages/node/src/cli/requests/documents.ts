import { CairnError } from "@cairn/kv";
import type { DocumentVersion } from "../../index/read/documents.ts";
import { bucketProblem, RESERVED_BUCKETS } from "../../text/document-key.ts";
import { formatTable, shorten } from "../terminal/columns.ts";
import type { NodeAnswer, NodeClient, NodeRequest } from "./node-client.ts";
import { formatTime } from "../terminal/quantities.ts";

/** A version with its document as the value that it is. */
export type TellableVersion = Omit<DocumentVersion, "json"> & { readonly document?: unknown };

/** Versions as a table for people. */
export function versionTable(versions: readonly TellableVersion[]): string {
  const rows = versions.map(({ revision, txTime, deleted, document }) => [
    String(revision),
    formatTime(txTime),
    deleted ? "(deleted)" : shorten(JSON.stringify(document), 200),
  ]);
  return formatTable(["REVISION", "TIME", "DOCUMENT"], rows, ["REVISION"]);
}

/** Address and query of a document; as a parameter, because dot segments in an address are resolved on the way. */
export function documentRequest(bucket: string, key: string): { path: string; query: { key: string } } {
  return { path: bucketPath(bucket), query: { key } };
}

/** The address of a bucket. `REQUEST_INVALID` for what is none: at a reserved name lies something else, whose answer would be about parameters. */
export function bucketPath(bucket: string): string {
  const problem = bucketProblem(bucket);
  if (problem !== undefined) {
    const reserved = [...RESERVED_BUCKETS].join(", ");
    throw new CairnError("REQUEST_INVALID", `This is no bucket: ${problem}.`, {
      hint: `A bucket is lower case letters, digits and -, such as pods; reserved are ${reserved}.`,
    });
  }
  return `/api/v1/${encodeURIComponent(bucket)}`;
}

/** The pages of a list, the newest cursor taken from each answer, until one has no more. */
export async function* pages(
  client: NodeClient,
  request: { path: string; query: NonNullable<NodeRequest["query"]> },
): AsyncIterable<{ items: readonly unknown[]; more: boolean }> {
  let cursor: string | undefined;
  do {
    const answer = await client.send({ ...request, query: { ...request.query, cursor } });
    cursor = nextCursor(answer);
    yield { items: JSON.parse(answer.text) as unknown[], more: cursor !== undefined };
  } while (cursor !== undefined);
}

function nextCursor({ headers }: NodeAnswer): string | undefined {
  const { link } = headers;
  const cursor = /<[^>]*[?&]cursor=([^&>]*)[^>]*>; rel="next"/.exec(String(link))?.[1];
  return cursor === undefined ? undefined : decodeURIComponent(cursor);
}
