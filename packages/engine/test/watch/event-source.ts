import { request, type IncomingMessage } from "node:http";

/** A server-sent event as it was received. `data` is parsed. */
export interface SentEvent {
  readonly id: string | undefined;
  readonly event: string | undefined;
  readonly data: unknown;
}

/** Returns the id of the transaction that an event contains, or up to which it says that everything was sent. */
export function txIdOf({ data }: SentEvent): number {
  return (data as { readonly txId: number }).txId;
}

/** The response to a watch over HTTP, with its events one after another. It is closed with `await using`. */
export class EventSource {
  readonly response: IncomingMessage;
  readonly #events: AsyncGenerator<SentEvent, void>;

  private constructor(response: IncomingMessage) {
    this.response = response;
    this.#events = readEvents(response);
  }

  static async open(url: string, headers: Record<string, string> = {}): Promise<EventSource> {
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      request(url, { agent: false, headers }, resolve).once("error", reject).end();
    });
    return new EventSource(response);
  }

  /** Returns the next event; undefined at the end. */
  async next(): Promise<SentEvent | undefined> {
    const { done, value } = await this.#events.next();
    return done === true ? undefined : value;
  }

  /** Returns the ids of the next transactions. */
  async transactions(count: number): Promise<number[]> {
    const ids: number[] = [];
    while (ids.length < count) {
      const event = await this.next();
      if (event === undefined || event.event === "cutoff")
        throw new Error(`it ended: ${JSON.stringify(event)}`);
      if (event.event === "tx") ids.push(txIdOf(event));
    }
    return ids;
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.response.destroy();
    return Promise.resolve();
  }
}

/** Parses a stream by the subset of the rules of server-sent events that Cairn uses. */
async function* readEvents(response: IncomingMessage): AsyncGenerator<SentEvent, void> {
  let rest = "";
  response.setEncoding("utf8");
  for await (const chunk of response as AsyncIterable<string>) {
    const blocks = (rest + chunk).split("\n\n");
    rest = blocks.pop() ?? "";
    for (const block of blocks) {
      const fields = new Map(
        block
          .split("\n")
          .map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 2)]),
      );
      const data = JSON.parse(fields.get("data") ?? "null") as unknown;
      yield { id: fields.get("id"), event: fields.get("event"), data };
    }
  }
}
