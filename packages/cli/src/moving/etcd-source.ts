import { timeoutSignal } from "@cairn/client/protocol";
import { CairnError } from "@cairn/kv";
import { addressUrl, parsedJson } from "@cairn/text";
import { UsageError } from "../terminal/report-error.ts";
import type { KeyValue, KeyValueSource } from "./import-record.ts";
import { PageSize } from "./page-size.ts";
import { sourceUnreadable } from "./source-unreadable.ts";

/** A response of etcd's HTTP gateway. 64-bit numbers are strings, bytes are base64, and zero values are missing. */
interface RangeAnswer {
  readonly header: { readonly revision: string };
  readonly kvs?: readonly { readonly key: string; readonly value?: string; readonly lease?: string }[];
  readonly more?: boolean;
  readonly count?: string;
}

/** The largest response that is received. A smaller page is requested in place of a larger one. */
const MAX_ANSWER_BYTES = 32 * 1024 * 1024;
const TIMEOUT_MS = 60_000;
const ZERO = Buffer.from([0]);

/**
 * Reads the keys of etcd with a prefix, as of the revision at which the read begins. `endpoint` is the address of a
 * member (`http://127.0.0.1:2379`); it may contain `user`, which is `user:password`, or empty if etcd requires none.
 */
export async function openEtcd(endpoint: string, user: string, prefix: string): Promise<KeyValueSource> {
  const gateway = new EtcdGateway(endpoint, user);
  await gateway.authenticate();
  const first = await gateway.range(startOf(prefix), prefix, { limit: 1, count_only: true });
  const revision = first?.header.revision ?? "0";
  return {
    pairs: readPairs(gateway, prefix, revision),
    total: Number(first?.count ?? 0),
    close: () => undefined,
  };
}

async function* readPairs(
  gateway: EtcdGateway,
  prefix: string,
  revision: string,
): AsyncGenerator<KeyValue[]> {
  const size = new PageSize();
  let from: Buffer | undefined = startOf(prefix);
  while (from !== undefined) {
    const limit = size.items;
    const answer = await gateway.range(from, prefix, { limit, revision });
    if (answer === undefined) {
      size.exceeded();
      continue;
    }
    const page = (answer.kvs ?? []).map(({ key, value = "", lease = "0" }) => ({
      key: Buffer.from(key, "base64"),
      value: Buffer.from(value, "base64"),
      expires: lease !== "0",
    }));
    const bytes = page.reduce((sum, { key, value }) => sum + key.length + value.length, 0);
    size.received(page.length, bytes);
    const last = page.at(-1);
    // The next key in byte order is the last one followed by a zero byte.
    from = answer.more === true && last !== undefined ? Buffer.concat([last.key, ZERO]) : undefined;
    if (page.length > 0) yield page;
  }
}

function startOf(prefix: string): Buffer {
  return prefix === "" ? ZERO : Buffer.from(prefix);
}

/** Returns the first key after those with the prefix; a zero byte means the end of all keys. */
function endOf(prefix: string): Buffer {
  const end = Buffer.from(prefix);
  // Bytes of UTF-8 are below 255, so the last one can be increased.
  end[end.length - 1] = (end.at(-1) ?? 0) + 1;
  return prefix === "" ? ZERO : end;
}

class EtcdGateway {
  readonly #url: string;
  readonly #user: string;
  readonly #place: string;
  #token: string | undefined;

  constructor(endpoint: string, user: string) {
    const url = addressUrl(endpoint, "http", "https");
    if (url === undefined) {
      throw new UsageError(
        `${endpoint} is not the address of etcd.`,
        "Write, for example, http://127.0.0.1:2379.",
      );
    }
    const inUrl = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
    this.#user = inUrl === ":" ? user : inUrl;
    [url.username, url.password] = ["", ""];
    this.#url = url.href.replace(/\/+$/, "");
    this.#place = `etcd at ${this.#url}`;
  }

  async authenticate(): Promise<void> {
    if (this.#user === "") return;
    const [name = "", ...rest] = this.#user.split(":");
    const answer = await this.#post("/v3/auth/authenticate", { name, password: rest.join(":") });
    this.#token = (answer as { token?: string }).token;
  }

  /** Reads a page; undefined if it is too large. */
  async range(
    from: Buffer,
    prefix: string,
    more: { readonly limit: number; readonly revision?: string; readonly count_only?: boolean },
  ): Promise<RangeAnswer | undefined> {
    const body = { key: from.toString("base64"), range_end: endOf(prefix).toString("base64"), ...more };
    return (await this.#post("/v3/kv/range", body, more.limit > 1)) as RangeAnswer | undefined;
  }

  async #post(path: string, body: object, isBounded = false): Promise<unknown> {
    let status: number;
    let text: string | undefined;
    try {
      const response = await fetch(`${this.#url}${path}`, {
        method: "POST",
        body: JSON.stringify(body),
        headers: this.#token === undefined ? {} : { authorization: this.#token },
        signal: timeoutSignal(TIMEOUT_MS),
      });
      ({ status } = response);
      text = await readText(response, isBounded ? MAX_ANSWER_BYTES : Infinity);
    } catch (error) {
      throw sourceUnreadable(this.#place, error);
    }
    if (status !== 200) throw this.#refused(status, text ?? "");
    try {
      return text === undefined ? undefined : JSON.parse(text);
    } catch (error) {
      throw sourceUnreadable(this.#place, error);
    }
  }

  #refused(status: number, text: string): CairnError {
    if (text.includes("compacted")) {
      return sourceUnreadable(
        this.#place,
        "it has compacted the revision that was being read",
        "Compact less often while the import runs (--auto-compaction-retention).",
      );
    }
    if (status === 404)
      return sourceUnreadable(this.#place, "it does not serve /v3 over HTTP (etcd 3.4 and later do)");
    const { error, message } = (parsedJson(text) ?? {}) as { error?: string; message?: string };
    return sourceUnreadable(this.#place, error ?? message ?? `status ${status}`);
  }
}

/** Returns the body of a response; undefined if it is larger than `maxBytes`. */
async function readText(response: Response, maxBytes: number): Promise<string | undefined> {
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  // Leaving the loop ends the response.
  for await (const piece of response.body ?? []) {
    bytes += piece.length;
    if (bytes > maxBytes) return undefined;
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString("utf8");
}
