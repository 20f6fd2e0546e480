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

/** Returns each version as JSON. A deletion has no document. */
export function versionsJson(versions: readonly DocumentVersion[]): string[] {
  return versions.map(({ revision, txTime, deleted, json }) => {
    const head = `{"revision":${revision},"txTime":"${txTime}","deleted":${deleted}`;
    return json === undefined ? `${head}}` : `${head},"document":${json}}`;
  });
}

/** Longer arrays are written item by item to avoid a copy of the page. */
const MAX_JOINED_CHARACTERS = 1_048_576;

/** Returns `items` as a JSON array, with a Link to the next page. */
export function page(
  url: string,
  items: readonly string[],
  cursor: string | undefined,
  headers: Headers = {},
): HttpAnswer {
  let length = 0;
  for (const item of items) length += item.length;
  return {
    headers: cursor === undefined ? headers : { ...headers, link: `<${nextUrl(url, cursor)}>; rel="next"` },
    body:
      length <= MAX_JOINED_CHARACTERS
        ? jsonLine(`[${items.join(",\n")}]`)
        : Readable.from(pieces(items), { objectMode: false }),
  };
}

function* pieces(items: readonly string[]): Iterable<string> {
  let separator = "[";
  for (const item of items) {
    yield separator + item;
    separator = ",\n";
  }
  yield jsonLine("]");
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
