import { Readable } from "node:stream";
import type { FastifyReply, FastifyRequest } from "fastify";
import type { DocumentVersion, StoredDocument } from "../../index/read/documents.ts";
import { JSON_TYPE, jsonLine } from "./json-answer.ts";

/** Each document as JSON text, around the text that is stored: nothing is parsed again. */
export function documentsJson(documents: readonly StoredDocument[]): string[] {
  return documents.map(
    ({ namespace, name, revision, json }) =>
      `{"namespace":${JSON.stringify(namespace)},"name":${JSON.stringify(name)},"revision":${revision},"document":${json}}`,
  );
}

/** Each version as JSON text; a deletion has no document. */
export function versionsJson(versions: readonly DocumentVersion[]): string[] {
  return versions.map(({ revision, txTime, deleted, json }) => {
    const head = `{"revision":${revision},"txTime":"${txTime}","deleted":${deleted}`;
    return json === undefined ? `${head}}` : `${head},"document":${json}}`;
  });
}

/** Above so many characters an array is written piece by piece instead of as one more copy of the page. */
const STREAM_ABOVE = 1_048_576;

/** Sends `items` as a JSON array, with a Link to the next page where there is one; `parameter` is what takes its cursor. */
export function sendPage(
  request: FastifyRequest,
  reply: FastifyReply,
  items: readonly string[],
  cursor: string | undefined,
  parameter = "cursor",
): FastifyReply {
  if (cursor !== undefined) {
    void reply.header("link", `<${nextUrl(request.url, parameter, cursor)}>; rel="next"`);
  }
  void reply.type(JSON_TYPE);
  let length = 0;
  for (const item of items) length += item.length;
  if (length <= STREAM_ABOVE) return reply.send(jsonLine(`[${items.join(",\n")}]`));
  return reply.send(Readable.from(pieces(items), { objectMode: false }));
}

function* pieces(items: readonly string[]): Iterable<string> {
  let separator = "[";
  for (const item of items) {
    yield separator + item;
    separator = ",\n";
  }
  yield jsonLine("]");
}

/** The address of this request with another cursor; everything else as it was sent. */
function nextUrl(url: string, parameter: string, cursor: string): string {
  const start = url.indexOf("?");
  const path = start < 0 ? url : url.slice(0, start);
  const kept = start < 0 ? [] : url.slice(start + 1).split("&");
  const pairs = kept.filter((pair) => pair !== "" && pair !== parameter && !pair.startsWith(`${parameter}=`));
  // A header must not hold what ends the address in it.
  const query = [...pairs, `${parameter}=${encodeURIComponent(cursor)}`].join("&");
  return `${path}?${query}`.replaceAll("<", "%3C").replaceAll(">", "%3E");
}
