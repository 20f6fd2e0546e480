/** A server-sent event: its kind, and its data as text. */
export interface SentEvent {
  readonly event: string;
  readonly data: string;
}

/** The events of a stream's text, which may be cut anywhere. One that has not ended when the stream does is none. */
export async function* readEventStream(text: AsyncIterable<string>): AsyncGenerator<SentEvent, void> {
  // What came of an event that has not ended; joined once it has, since one may come in many parts.
  let parts: string[] = [];
  for await (const chunk of text) {
    // The empty line may itself come in two parts.
    const begun = parts.at(-1)?.endsWith("\n") === true && chunk.startsWith("\n");
    if (!begun && !chunk.includes("\n\n")) {
      parts.push(chunk);
      continue;
    }
    const blocks = (parts.join("") + chunk).split("\n\n");
    parts = [blocks.pop() ?? ""];
    for (const block of blocks) {
      const event = parseEvent(block);
      if (event !== undefined) yield event;
    }
  }
}

/** Undefined for what has no data, such as a comment. */
function parseEvent(block: string): SentEvent | undefined {
  let event = "message";
  const data: string[] = [];
  for (const line of block.split("\n")) {
    const colon = line.indexOf(":");
    if (colon <= 0) continue;
    const value = line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    if (line.startsWith("event:")) event = value;
    else if (line.startsWith("data:")) data.push(value);
  }
  return data.length === 0 ? undefined : { event, data: data.join("\n") };
}
