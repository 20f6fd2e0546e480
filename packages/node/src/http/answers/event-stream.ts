import type { WatchEvent } from "../../watch/watch-event.ts";
import type { WatchChange } from "../../index/read/transaction-event.ts";

/** All watchers of the same changes receive the same array, so its events are encoded only once. */
const encoded = new WeakMap<readonly WatchEvent[], Buffer>();

/** Returns events as the bytes of a stream of server-sent events. */
export function eventStreamText(events: readonly WatchEvent[]): Buffer {
  const known = encoded.get(events);
  if (known !== undefined) return known;
  let text = "";
  for (const event of events) text += eventText(event);
  const bytes = Buffer.from(text, "utf8");
  encoded.set(events, bytes);
  return bytes;
}

/** A client resumes after the last id, so an event after which it must not resume has no id. */
function eventText(event: WatchEvent): string {
  switch (event.type) {
    case "tx": {
      const { txId, txTime, changes } = event;
      const data = `{"txId":${txId},"txTime":"${txTime}","changes":[${changes.map(changeJson).join(",")}]}`;
      return `id: ${txId}\nevent: tx\ndata: ${data}\n\n`;
    }
    case "heartbeat": {
      const { type, ...data } = event;
      const id = event.ahead === true ? "" : `id: ${event.txId}\n`;
      return `${id}event: ${type}\ndata: ${JSON.stringify(data)}\n\n`;
    }
    case "cutoff": {
      const { type, ...data } = event;
      const id = event.reason === "regressed" ? "" : `id: ${event.txId}\n`;
      return `${id}event: ${type}\ndata: ${JSON.stringify(data)}\n\n`;
    }
  }
}

/** Built from the stored JSON without parsing it. The result has no line breaks, as messages of the log have none. */
function changeJson({ op, bucket, namespace, name, revision, json }: WatchChange): string {
  const key = `"namespace":${JSON.stringify(namespace)},"name":${JSON.stringify(name)}`;
  const head = `{"op":"${op}","bucket":"${bucket}",${key},"revision":${revision}`;
  return json === undefined ? `${head}}` : `${head},"document":${json}}`;
}
