import { setTimeout as delay } from "node:timers/promises";
import type { AcknowledgedHistory, Operation } from "./acknowledged.ts";
import type { SkewCluster } from "./skew-cluster.ts";

export const BUCKETS = ["pods", "nodes"];
const KEYS = 60;
const PAUSE_MS = 10;
const REQUEST_TIMEOUT_MS = 5_000;
const SUBMIT_TIMEOUT_MS = 120_000;

/**
 * A group of clients, one per node. If its own node does not respond, a client tries the other nodes, until its
 * transaction is acknowledged.
 */
export class Writers {
  readonly #cluster: SkewCluster;
  readonly #history: AcknowledgedHistory;
  readonly #stop = new AbortController();
  readonly #running: Promise<unknown>;

  constructor(cluster: SkewCluster, history: AcknowledgedHistory, random: () => number) {
    this.#cluster = cluster;
    this.#history = history;
    this.#running = Promise.all(cluster.members.map(async (_, writer) => await this.#write(writer, random)));
    // `finish` reports the error.
    this.#running.catch(() => {});
  }

  /** Stops the clients once the pending transactions are acknowledged. */
  async finish(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #write(writer: number, random: () => number): Promise<void> {
    for (let n = 0; !this.#stop.signal.aborted; n += 1) {
      const id = `writer-${writer}-${n}`;
      const ops = operations(random, `${id} of ${new Date().toISOString()}`);
      const txId = await this.#submit(writer, JSON.stringify({ id, ops }));
      const problem = this.#history.add(txId, id, ops);
      if (problem !== undefined) this.#cluster.figures.violated(problem);
      await delay(PAUSE_MS);
    }
  }

  async #submit(writer: number, body: string): Promise<number> {
    const { members, figures } = this.#cluster;
    const deadline = Date.now() + SUBMIT_TIMEOUT_MS;
    for (let attempt = 0; Date.now() < deadline; attempt += 1) {
      const process = members[(writer + attempt) % members.length]?.process;
      const txId =
        process === undefined || process.exited
          ? undefined
          : await submitAt(await process.url().catch(() => ""), body);
      if (txId !== undefined) return txId;
      figures.count("submissions sent again");
      await delay(PAUSE_MS);
    }
    throw new Error(`No node accepted ${body} within ${SUBMIT_TIMEOUT_MS} ms.`);
  }
}

/** Submits a transaction and returns its id; undefined if the node is down or refuses it for now. */
async function submitAt(url: string, body: string): Promise<number | undefined> {
  if (url === "") return undefined;
  try {
    const answer = await fetch(`${url}/api/v1/tx`, {
      method: "POST",
      body,
      signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
    });
    const { txId } = (await answer.json()) as { txId?: number };
    if (answer.status === 202 && txId !== undefined) return txId;
    if (answer.status === 503 || answer.status === 504) return undefined;
    throw new TypeError(`${answer.status} for ${body}`);
  } catch (error) {
    // fetch throws a TypeError if the connection breaks.
    if (error instanceof TypeError && error.cause === undefined && !error.message.includes("fetch"))
      throw error;
    return undefined;
  }
}

function operations(random: () => number, text: string): Operation[] {
  const pick = (count: number): number => Math.floor(random() * count);
  const bucket = BUCKETS[pick(BUCKETS.length)] ?? "";
  const first = pick(KEYS);
  const kind = pick(10);
  if (kind < 2) return [["delete", bucket, keyOf(first)]];
  if (kind === 2)
    return [
      ["match", bucket, keyOf(first), null],
      ["put", bucket, keyOf(first), { text }],
    ];
  return Array.from({ length: 1 + pick(2) }, (_, n) => [
    "put",
    bucket,
    keyOf(first + n),
    { text, n: pick(1_000) },
  ]);
}

function keyOf(n: number): string {
  return `team-${n % 3}/k ${n}/ü`;
}
