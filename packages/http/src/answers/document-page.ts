import { Readable } from "node:stream";
import type { DocumentVersion, StoredDocument } from "@cairn/engine";
import { type HttpAnswer, type Headers, jsonLine } from "./answer.ts";

/** Returns each document as JSON, built from the stored JSON without parsing it. */
export function documentsJson(documents: readonly StoredDocument[]): string[] {
  return documents.map(
    ({ namespace, name, revision, json }) =>
      `{"namespace":${JSON.stringify(namespace)},"name":${JSON.stringify(name)},"revision":${revision},"document":${json}}`,
  );
}

export function versionsJson(versions: readonly DocumentVersion[]): string[] {
  return versions.map(({ revision, txTime, deleted, json }) => {
    const head = `{"revision":${revision},"txTime":"${txTime}","deleted":${deleted}`;
    return json === undefined ? `${head}}` : `${head},"document":${json}}`;
  });
}

/** A longer body is written in its parts to avoid a copy of it. */
const MAX_JOINED_CHARACTERS = 1_048_576;

/** Returns a body with one line of JSON: what is before its items, the items, and what is after them. */
export function listBody(
  begin: string,
  items: readonly string[],
  separator: string,
  end: string,
): string | Readable {
  let length = 0;
  for (const item of items) length += item.length;
  if (length <= MAX_JOINED_CHARACTERS) return jsonLine(`${begin}${items.join(separator)}${end}`);
  const parts = function* (): Iterable<string> {
    for (const [at, item] of items.entries()) yield (at === 0 ? begin : separator) + item;
    yield jsonLine(end);
  };
  return Readable.from(parts(), { objectMode: false });
}

/** Returns `items` as a JSON array, with a Link to the next page. */
export function page(
  url: string,
  items: readonly string[],
  cursor: string | undefined,
  headers: Headers = {},
): HttpAnswer {
  return {
    headers: cursor === undefined ? headers : { ...headers, link: `<${nextUrl(url, cursor)}>; rel="next"` },
    body: listBody("[", items, ",\n", "]"),
  };
}

function nextUrl(url: string, cursor: string): string {
  const start = url.indexOf("?");
  const path = start < 0 ? url : url.slice(0, start);
  const kept = start < 0 ? [] : url.slice(start + 1).split("&");
  const pairs = kept.filter((pair) => pair !== "" && pair !== "cursor" && !pair.startsWith("cursor="));
  // Unescaped, these characters would end the URL in the header.
  const query = [...pairs, `cursor=${encodeURIComponent(cursor)}`].join("&");
  return `${path}?${query}`.replaceAll("<", "%3C").replaceAll(">", "%3E");
}
