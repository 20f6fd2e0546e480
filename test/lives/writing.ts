import type { Picks } from "@cairn/test-support/seeded-random";
import type { LifeCluster, Member } from "./life-cluster.ts";
import type { Model, Write } from "./model.ts";

const ANSWER_WITHIN_MS = 45_000;
const KEYS = 16;
const RECENT = 12;

type Operation = readonly unknown[];

interface Answer {
  readonly status: number;
  readonly body: {
    readonly txId?: number;
    readonly duplicateOf?: number;
    readonly committed?: boolean;
    readonly error?: { readonly code: string };
    readonly [name: string]: unknown;
  };
  readonly etag: string | null;
}

/** A client that writes in all ways, through any node that runs, and records the responses in the model. */
export class Writer {
  readonly cluster: LifeCluster;
  readonly model: Model;
  readonly counts = new Map<string, number>();
  picks: Picks;

  constructor(cluster: LifeCluster, model: Model, picks: Picks) {
    this.cluster = cluster;
    this.model = model;
    this.picks = picks;
  }

  /** Makes this number of writes. `kinds` are the names of those to choose from. */
  async write(count: number, kinds: readonly string[] = Object.keys(KINDS)): Promise<void> {
    for (let n = 0; n < count; n += 1) {
      const [first, ...rest] = this.cluster.running;
      if (first === undefined) return;
      const member = this.picks.of([first, ...rest]);
      const [kind = "", ...others] = kinds;
      await KINDS[this.picks.of([kind, ...others])]?.(this, (await member.process?.url()) ?? "");
    }
  }

  get key(): string {
    return `default/k${this.picks.below(KEYS)}`;
  }

  /** Submits a transaction whose documents contain `uid`. */
  async submit(
    url: string,
    uid: string,
    ops: readonly Operation[],
    id?: string,
    query = "await=true",
  ): Promise<Write> {
    const { status, body } = await this.send(url, "POST", `tx?${query}`, {
      ops,
      ...(id !== undefined && { id }),
    });
    return this.settle({ uid, ops, id }, status, body);
  }

  settle(write: Pick<Write, "uid" | "ops" | "id">, status: number, body: Answer["body"]): Write {
    const state = this.#stateOf(status, body, write.ops);
    this.counts.set(state, (this.counts.get(state) ?? 0) + 1);
    const at = state === "committed" ? (body.duplicateOf ?? body.txId) : undefined;
    return this.model.record({ ...write, state, at });
  }

  #stateOf(status: number, body: Answer["body"], ops: readonly Operation[]): Write["state"] {
    if (status === 500) this.cluster.violated(`a write was answered with 500: ${JSON.stringify(body)}`);
    if (status >= 200 && status < 300) return body.committed === false ? "aborted" : "committed";
    if (status >= 400 && status < 500) return "refused";
    if (body.error?.code === "NOT_READY") return "refused";
    const isConditional = ops.some(([kind]) => kind === "match" || kind === "enqueue");
    return body.txId !== undefined && !isConditional ? "committed" : "unknown";
  }

  /** Sends a request. An interrupted one has the status 0. */
  async send(url: string, method: string, route: string, sent?: unknown, ifMatch?: string): Promise<Answer> {
    const body = typeof sent === "string" ? sent : JSON.stringify(sent);
    const headers = {
      "content-type": "application/json",
      ...(ifMatch !== undefined && { "if-match": ifMatch }),
    };
    const signal = AbortSignal.timeout(ANSWER_WITHIN_MS);
    try {
      const options = { method, headers, signal, ...(sent !== undefined && { body }) };
      const answer = await fetch(`${url}/api/v1/${route}`, options);
      const parsed = (await answer.json().catch(() => ({}))) as Answer["body"];
      if (answer.status >= 500)
        this.cluster.note(`${method} ${route}: ${answer.status} ${JSON.stringify(parsed)}`);
      return { status: answer.status, body: parsed, etag: answer.headers.get("etag") };
    } catch (error) {
      this.cluster.note(`${method} ${route}: ${String(error)}`);
      return { status: 0, body: {}, etag: null };
    }
  }
}

const STATES = ["new", "run", "done"] as const;

function documentOf({ picks }: Writer, uid: string): object {
  const padding = picks.next() < 0.1 ? { padding: "x".repeat(picks.below(20_000)) } : {};
  return { uid, n: picks.below(30), state: picks.of(STATES), ...padding };
}

/** Returns an earlier write with an id, preferably one of the newest. */
function earlierWithId({ model, picks }: Writer): (Write & { id: string }) | undefined {
  const all = [...model.writes.values()].filter((one): one is Write & { id: string } => one.id !== undefined);
  const [first, ...rest] = picks.next() < 0.7 ? all.slice(-RECENT) : all;
  return first === undefined ? undefined : picks.of([first, ...rest]);
}

/** The kinds of writes. */
const KINDS: Readonly<Record<string, (writer: Writer, url: string) => Promise<unknown>>> = {
  async put(writer, url) {
    const [uid, key] = [writer.model.nextUid(), writer.key];
    const document = documentOf(writer, uid);
    const { status, body } = await writer.send(url, "PUT", `things/${key}`, document);
    writer.settle({ uid, ops: [["put", "things", key, document]], id: undefined }, status, body);
  },
  async compareAndSet(writer, url) {
    const [uid, key] = [writer.model.nextUid(), writer.key];
    const { etag } = await writer.send(url, "GET", `things/${key}`);
    if (etag === null) return;
    const document = documentOf(writer, uid);
    const { status, body } = await writer.send(url, "PUT", `things/${key}`, document, etag);
    const ops = [
      ["match", "things", key],
      ["put", "things", key, document],
    ];
    writer.settle({ uid, ops, id: undefined }, status, body);
  },
  delete: async (writer, url) => await writer.send(url, "DELETE", `things/${writer.key}`),
  async transaction(writer, url) {
    const [uid, n] = [writer.model.nextUid(), writer.picks.below(KEYS)];
    const ops = [
      ["put", "things", `default/k${n}`, documentOf(writer, uid)],
      ["delete", "things", `default/k${(n + 1) % KEYS}`],
      ["put", "bounded", writer.key, { n }],
    ];
    const id = writer.picks.next() < 0.7 ? `id-${uid}` : undefined;
    await writer.submit(url, uid, ops, id, `await=${writer.picks.next() < 0.7}`);
  },
  async match(writer, url) {
    const [uid, key] = [writer.model.nextUid(), writer.key];
    const revision = writer.picks.of([null, 1, 2, 99_999]);
    const ops = [
      ["match", "things", key, revision],
      ["put", "things", key, documentOf(writer, uid)],
    ];
    await writer.submit(url, uid, ops);
  },
  async repeat(writer, url) {
    const first = earlierWithId(writer);
    if (first === undefined) return;
    const { id, ops, state, at, losses } = first;
    const { status, body } = await writer.send(url, "POST", "tx?await=true", { id, ops });
    if (status !== 200) return;
    const found = body.duplicateOf ?? body.txId;
    const isSame = losses === writer.model.losses;
    if (
      isSame &&
      (state === "committed" || state === "aborted") &&
      body.committed !== (state === "committed")
    )
      writer.cluster.violated(
        `a repetition of ${JSON.stringify(first)} was answered with ${JSON.stringify(body)}`,
      );
    if (isSame && state === "committed" && at !== undefined && found !== at)
      writer.cluster.violated(
        `a repetition found transaction ${found}, not ${at}, of ${JSON.stringify(first)}`,
      );
    if (state !== "committed" && body.committed === true) first.state = "committed";
    if (!isSame) Object.assign(first, { losses: writer.model.losses, at: undefined });
  },
  async otherContent(writer, url) {
    const first = earlierWithId(writer);
    if (first === undefined) return;
    const { id, state, losses } = { ...first };
    const uid = writer.model.nextUid();
    const { state: now } = await writer.submit(
      url,
      uid,
      [["put", "things", writer.key, documentOf(writer, uid)]],
      id,
    );
    if (now === "committed" && state === "committed" && losses === writer.model.losses)
      writer.cluster.violated(
        `other content with the id of ${JSON.stringify(first)} was committed as ${uid}`,
      );
  },
  /** As programs do whose ids come from what they read. */
  async order(writer, url) {
    const { status, body } = await writer.send(url, "GET", "counters/default/orders");
    if (status !== 200 && status !== 404) return;
    const n = status === 200 ? Number(body["next"]) : 1;
    const uid = writer.model.nextUid();
    const ops = [
      ["put", "counters", "default/orders", { next: n + 1 }],
      ["put", "orders", `default/order-${n}`, { uid }],
    ];
    const { state } = await writer.submit(url, uid, ops, `order-${n}`);
    if (state !== "committed") await writer.send(url, "PUT", "counters/default/orders", { next: n + 1 });
  },
  async batch(writer, url) {
    const all = Array.from({ length: writer.picks.of([3, 10, 10, 60]) }, () => {
      const uid = writer.model.nextUid();
      return { uid, id: `id-${uid}`, ops: [["put", "orders", `batch/b${writer.picks.below(40)}`, { uid }]] };
    });
    const lines = all.map(({ id, ops }) => JSON.stringify({ id, ops })).join("\n");
    const { status, body } = await writer.send(url, "POST", "tx/batch?await=true", lines);
    if (body["aborted"] !== undefined && body["aborted"] !== 0)
      writer.cluster.violated(`a batch of puts was aborted: ${JSON.stringify(body)}`);
    const accepted = Number(body["accepted"] ?? 0);
    for (const [n, write] of all.entries()) {
      if (status === 200 || n < accepted) writer.settle(write, 200, {});
      else writer.model.record({ ...write, state: "unknown", at: undefined });
    }
  },
  async enqueue(writer, url) {
    const uid = writer.model.nextUid();
    await writer.submit(url, uid, [["enqueue", "jobs", `job-${uid}`, { uid, state: "new" }]]);
  },
  async work(writer, url) {
    const shard = writer.picks.below(4);
    const route = `queues/jobs/shards/${shard}`;
    const claim = await writer.send(url, "POST", `${route}/claim`, { as: "worker" });
    if (claim.status !== 200) return;
    const epoch = claim.body["epoch"];
    const { status, body } = await writer.send(url, "GET", `${route}/open?limit=5`);
    const open = status === 200 ? (body as unknown as { name: string }[]) : [];
    for (const { name } of open) {
      const ops = [["put", "jobs", `${shard}/${name}`, { state: "done" }, { epoch, as: "worker" }]];
      await writer.send(url, "POST", "tx?await=true", { ops });
    }
    await writer.send(url, "POST", `${route}/release`, { epoch, as: "worker" });
  },
  async evict(writer, url) {
    const key = `default/secret-${writer.picks.below(3)}`;
    await writer.send(url, "PUT", `secrets/${key}`, { secret: writer.picks.below(100) });
    if (writer.picks.next() < 0.5)
      await writer.send(url, "POST", "tx?await=true", { ops: [["evict", "secrets", key]] });
  },
};

/** The kinds of writes that use ids again. */
export const REUSES = ["repeat", "otherContent", "otherContent", "order", "order"];

/** Returns a node that runs, if there is one. */
export function anyRunning(cluster: LifeCluster, picks: Picks): Member | undefined {
  const [first, ...rest] = cluster.running;
  return first === undefined ? undefined : picks.of([first, ...rest]);
}
