export interface SentEvent {
  readonly event: string;
  readonly data: string;
}

/** The chunks may be split anywhere. An incomplete event at the end of the stream is dropped. */
export async function* readEventStream(text: AsyncIterable<string>): AsyncGenerator<SentEvent, void> {
  // The chunks of the unfinished event. There may be many, so they are joined only once it is complete.
  let parts: string[] = [];
  for await (const chunk of text) {
    // The empty line that ends an event may itself be split.
    const isSplit = parts.at(-1)?.endsWith("\n") === true && chunk.startsWith("\n");
    if (!isSplit && !chunk.includes("\n\n")) {
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

/** Returns the event in a block; undefined if the block has no data, for example if it is a comment. */
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
