import { addAbortSignal, Readable } from "node:stream";
import {
  type CheckpointStore,
  MAX_SMALL_FILE_BYTES,
  requireStoreName,
  type StoredFile,
} from "@cairn/checkpoint";
import { CairnError } from "@cairn/node";

/** A checkpoint store behind an HTTP server of one's own, with conditional requests in place of locks. */
export function createHttpStore(options: Readonly<Record<string, unknown>>): CheckpointStore {
  const { url, ...others } = options;
  if (typeof url !== "string" || Object.keys(others).length > 0) {
    throw new CairnError("CONFIG_INVALID", "The HTTP store needs url, and nothing else.", {
      hint: 'Write {"url": "http://10.0.0.9:8080/"}.',
    });
  }
  return new HttpStore(url);
}

class HttpStore implements CheckpointStore {
  readonly location: string;
  readonly exclusive = true;
  readonly shared = true;
  readonly #closed = new AbortController();

  constructor(url: string) {
    this.location = url;
  }

  async list(prefix: string): Promise<StoredFile[]> {
    const address = new URL(this.location);
    address.searchParams.set("prefix", prefix);
    const files = JSON.parse(await this.#text(await this.#ask(address))) as StoredFile[];
    return files.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  }

  async upload(
    name: string,
    content: Readable,
    { signal }: { readonly signal?: AbortSignal } = {},
  ): Promise<{ bytes: number }> {
    requireStoreName(name);
    signal?.throwIfAborted();
    const sent = { bytes: 0, failure: undefined as unknown };
    try {
      const body = ReadableStream.from(counted(content, sent));
      const request = { method: "PUT", body, duplex: "half" as const, headers: { "if-none-match": "*" } };
      const { status } = await this.#ask(this.#at(name), request, signal);
      if (status === 412)
        throw new CairnError("CONFLICT", `${name} is already in ${this.location}`, "Choose another name.");
      return { bytes: sent.bytes };
    } catch (error) {
      content.destroy();
      signal?.throwIfAborted();
      throw sent.failure ?? error;
    }
  }

  async open(name: string, { signal }: { readonly signal?: AbortSignal } = {}): Promise<Readable> {
    requireStoreName(name);
    const { status, body } = await this.#ask(this.#at(name), {}, signal);
    if (status === 404 || body === null)
      throw new CairnError("NOT_FOUND", `${name} is not in ${this.location}`, "List the store.");
    const content = Readable.fromWeb(body);
    return signal === undefined ? content : addAbortSignal(signal, content);
  }

  async read(name: string): Promise<{ text: string; tag: string } | undefined> {
    requireStoreName(name);
    const answer = await this.#ask(this.#at(name));
    if (answer.status === 404) return undefined;
    if (Number(answer.headers.get("content-length")) > MAX_SMALL_FILE_BYTES) {
      await answer.body?.cancel();
      throw new CairnError("CHECKPOINT_CORRUPT", `${name} is too large`, "Remove it.");
    }
    return { text: await this.#text(answer), tag: answer.headers.get("etag") ?? "" };
  }

  async create(name: string, body: string): Promise<boolean> {
    requireStoreName(name);
    const headers = { "if-none-match": "*" };
    return (await this.#ask(this.#at(name), { method: "PUT", body, headers })).status !== 412;
  }

  async replace(name: string, body: string, tag: string): Promise<{ tag: string } | false> {
    requireStoreName(name);
    const headers = { "if-match": tag };
    const answer = await this.#ask(this.#at(name), { method: "PUT", body, headers });
    return answer.status === 412 ? false : { tag: answer.headers.get("etag") ?? "" };
  }

  async remove(name: string): Promise<void> {
    requireStoreName(name);
    await this.#ask(this.#at(name), { method: "DELETE" });
  }

  async now(): Promise<number> {
    const answer = await this.#ask(new URL("?prefix=%00", this.location));
    return Date.parse(answer.headers.get("date") ?? "");
  }

  close(): Promise<void> {
    this.#closed.abort();
    return Promise.resolve();
  }

  #at(name: string): URL {
    return new URL(encodeURIComponent(name), this.location);
  }

  async #ask(address: URL, request: RequestInit = {}, given?: AbortSignal): Promise<Response> {
    const { signal } = this.#closed;
    const either = given === undefined ? signal : AbortSignal.any([given, signal]);
    let answer: Response;
    try {
      answer = await fetch(address, { ...request, signal: either });
    } catch (cause) {
      given?.throwIfAborted();
      throw this.#unreachable("does not respond", cause);
    }
    const { status } = answer;
    if (status === 401 || status === 403) throw this.#failed("STORE_DENIED", status);
    if (status === 507) throw this.#failed("STORE_FULL", status);
    if (status >= 500 || status === 429) throw this.#failed("STORE_UNREACHABLE", status);
    return answer;
  }

  async #text(answer: Response): Promise<string> {
    try {
      return await answer.text();
    } catch (cause) {
      throw this.#unreachable("stopped in the middle", cause);
    }
  }

  #unreachable(what: string, cause: unknown): CairnError {
    const hint = "Check the server and the network.";
    return new CairnError("STORE_UNREACHABLE", `${this.location} ${what}.`, { hint, cause });
  }

  #failed(code: "STORE_DENIED" | "STORE_FULL" | "STORE_UNREACHABLE", status: number): CairnError {
    return new CairnError(code, `${this.location} fails: HTTP ${status}.`, "Look at the server's log.");
  }
}

async function* counted(
  content: Readable,
  sent: { bytes: number; failure: unknown },
): AsyncGenerator<Uint8Array, void> {
  try {
    for await (const part of content as AsyncIterable<Uint8Array>) {
      sent.bytes += part.length;
      yield part;
    }
  } catch (error) {
    sent.failure = error;
    throw error;
  }
}
