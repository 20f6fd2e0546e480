import type { Transaction } from "@cairn/client";
import { Ended, type Health, PATIENCE_MS, Refused, type Subject } from "./flip-subject.ts";
import { type Answer, type Answers, changeText, evictionText, PAGE, type Question } from "./question.ts";

interface Page<T> {
  readonly items: readonly T[];
  readonly next: string | undefined;
}

/** A node that is queried over HTTP, as a user would query it. `stop` ends its process. */
export class HttpSubject implements Subject {
  readonly #url: string;
  readonly stop: () => Promise<void>;

  constructor(url: string, stop: () => Promise<void>) {
    this.#url = url;
    this.stop = stop;
  }

  async submit(transaction: Transaction): Promise<{ txId: number; time: number }> {
    const body = JSON.stringify(transaction);
    const answer = await this.#request(`/api/v1/tx?await=true`, { method: "POST", body });
    const { txId, txTime } = (await answer.json()) as { txId: number; txTime: string };
    return { txId, time: Date.parse(txTime) };
  }

  async checkpoint(): Promise<void> {
    await (await this.#request("/api/v1/checkpoints?await=true", { method: "POST" })).text();
  }

  async health(): Promise<Health> {
    const { phase, failure, join } = (await (await this.#request("/status")).json()) as Pick<
      Health,
      "phase" | "failure"
    > & {
      readonly join: { readonly movedAside: readonly unknown[]; readonly skipped: readonly unknown[] };
    };
    return { phase, failure, movedAside: join.movedAside.length, skipped: join.skipped.length };
  }

  async ask(question: Question): Promise<Answer> {
    switch (question.ask) {
      case "get":
        return await this.#get(question);
      case "list": {
        const { bucket, asOf, where } = question;
        const query = new URLSearchParams({ limit: String(PAGE) });
        if (asOf !== undefined) query.set("as-of", String(asOf));
        if (where !== undefined) query.set("where", `${where.field}:${where.value}`);
        const documents = await this.#all<ListedDocument>(`/api/v1/${bucket}?${query.toString()}`);
        return documents.map(
          ({ namespace, name, revision, document }) => [`${namespace}/${name}`, revision, document] as const,
        );
      }
      case "history": {
        const query = new URLSearchParams({ key: question.key, history: "true", limit: String(PAGE) });
        const versions = await this.#all<ListedVersion>(
          `/api/v1/${question.bucket}?${query.toString()}`,
          [404],
        );
        return versions.map(
          ({ revision, deleted, document }) =>
            (deleted ? [revision] : [revision, document]) as Answers["history"][number],
        );
      }
      case "outcome": {
        const answer = await this.#request(`/api/v1/tx/${question.txId}?timeout=${PATIENCE_MS}`, {}, [404]);
        const { committed, txTime } = (await answer.json()) as { committed: boolean; txTime: string };
        return answer.status === 404 ? null : { committed, time: Date.parse(txTime) };
      }
      case "events": {
        const events = await this.#all<{ txId: number; time: string; object: string; reason: string }>(
          `/api/v1/events?limit=${PAGE}`,
        );
        return events.map(({ txId, time, object, reason }) => [txId, time, object, reason] as const);
      }
      case "evictions": {
        const evictions = await this.#all<{ txId: number; bucket: string; namespace: string; name: string }>(
          `/api/v1/tx/evictions?limit=${PAGE}`,
        );
        return evictions
          .map(({ txId, bucket, namespace, name }) => evictionText(txId, bucket, `${namespace}/${name}`))
          .toSorted();
      }
      case "changes":
        return await this.#changes(question.upTo);
      case "buckets":
        return (await (await this.#request("/api/v1/buckets")).json()) as Answers["buckets"];
      case "digest":
        return ((await (await this.#request("/api/v1/digest")).json()) as { digest: string }).digest;
    }
  }

  async #get({ bucket, key, asOf }: Extract<Question, { ask: "get" }>): Promise<Answers["get"]> {
    const query = new URLSearchParams({ key, ...(asOf === undefined ? {} : { "as-of": String(asOf) }) });
    const answer = await this.#request(`/api/v1/${bucket}?${query.toString()}`, {}, [404]);
    const body: unknown = await answer.json();
    if (answer.status === 404) return null;
    return { revision: Number(/\d+/.exec(answer.headers.get("etag") ?? "")?.[0]), document: body };
  }

  async #all<T>(path: string, none: readonly number[] = []): Promise<T[]> {
    const found: T[] = [];
    for (let next: string | undefined = path; next !== undefined;) {
      const page: Page<T> = await this.#page<T>(next, none);
      found.push(...page.items);
      next = page.next;
    }
    return found;
  }

  async #page<T>(path: string, none: readonly number[]): Promise<Page<T>> {
    const answer = await this.#request(path, {}, none);
    if (none.includes(answer.status)) return { items: [], next: undefined };
    const next = /<([^>]+)>; rel="next"/.exec(answer.headers.get("link") ?? "")?.[1];
    return { items: (await answer.json()) as T[], next };
  }

  async #changes(upTo: number): Promise<string[]> {
    const answer = await this.#request("/api/v1/watch?from=0&heartbeat=PT0.1S");
    const found: string[] = [];
    let rest = "";
    for await (const part of answer.body?.pipeThrough(new TextDecoderStream()) ?? []) {
      const blocks = (rest + part).split("\n\n");
      rest = blocks.pop() ?? "";
      for (const block of blocks) {
        const event = /^event: (.*)$/m.exec(block)?.[1];
        const {
          txId,
          changes = [],
          ahead,
        } = JSON.parse(/^data: (.*)$/m.exec(block)?.[1] ?? "{}") as WatchedEvent;
        if (event === "cutoff") throw new Refused("NOT_READY", block);
        const told = changes.map(({ op, bucket, namespace, name, document }) =>
          changeText(txId, op, bucket, `${namespace}/${name}`, document),
        );
        found.push(...told.toSorted());
        if (txId >= upTo && ahead !== true) return found;
      }
    }
    throw new Refused("TX_TIMEOUT", `a watch ended before transaction ${upTo}`);
  }

  async #request(path: string, init: RequestInit = {}, also: readonly number[] = []): Promise<Response> {
    const answer = await fetch(`${this.#url}${path}`, {
      ...init,
      signal: AbortSignal.timeout(2 * PATIENCE_MS),
    }).catch((error: unknown) => {
      throw new Ended(`no answer to ${path}`, { cause: error });
    });
    if (answer.ok || also.includes(answer.status)) return answer;
    const { error } = (await answer.json()) as { error: { code: string; message: string } };
    throw new Refused(error.code, error.message);
  }
}

interface ListedDocument {
  readonly namespace: string;
  readonly name: string;
  readonly revision: number;
  readonly document: unknown;
}

interface ListedVersion {
  readonly revision: number;
  readonly deleted: boolean;
  readonly document?: unknown;
}

interface WatchedEvent {
  readonly txId: number;
  readonly ahead?: boolean;
  readonly changes?: readonly (ListedDocument & { readonly op: string; readonly bucket: string })[];
}
