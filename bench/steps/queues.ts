import { setTimeout as delay } from "node:timers/promises";
import { CairnClient, type Director, type TxOperation } from "@cairn/client";
import { type CairnNode, startNode } from "@cairn/node";
import type { Figures } from "../harness/figures.ts";
import { OPEN_ENTRY, type QueueLoad } from "./queue-peers.ts";

const QUEUE = "jobs";
const POLICY = {
  shards: 64,
  cap: 10_000_000,
  terminal: { state: ["done"] },
  lease: "PT30S",
};
const POLL_MS = 5;
/** The number of entries in one transaction, where they are not measured. */
const BATCH = 100;

/** Enqueues entries, each in its own transaction, while a director of the same node finishes them. */
export async function queueInCairn({
  config,
  entries,
  atOnce,
}: QueueLoad & { readonly config: object }): Promise<Figures> {
  const node = await startQueue(config);
  try {
    let finished = 0;
    const director = node.client().direct(QUEUE, {
      concurrency: atOnce,
      drainAt: false,
      handle: () => void (finished += 1),
    });
    const begin = performance.now();
    let put = 0;
    const produce = async (): Promise<void> => {
      while (put < entries) {
        put += 1;
        await node.submit({ ops: [["enqueue", QUEUE, `e${put}`, OPEN_ENTRY]] });
      }
    };
    await Promise.all(Array.from({ length: atOnce }, produce));
    await allFinished(async () => (finished < entries ? 1 : (await node.queue(QUEUE)).queue.open));
    const seconds = (performance.now() - begin) / 1_000;
    await director.stop();
    return { "entries/s": entries / seconds };
  } finally {
    await node.close();
  }
}

/** Fills a queue with finished entries and a hundred open ones. */
export async function fillQueue({
  config,
  finished,
}: {
  readonly config: object;
  readonly finished: number;
}): Promise<Figures> {
  const node = await startQueue(config);
  try {
    await enqueue((ops) => node.submit({ ops }), finished, { ...OPEN_ENTRY, state: "done" }, "f");
    const last = await enqueue((ops) => node.submit({ ops }), 100, OPEN_ENTRY, "o");
    await node.await(last, { timeoutMs: 600_000 });
    return {};
  } finally {
    await node.close();
  }
}

/** Starts a director of that queue, and measures the time until it has handed out every open entry. */
export async function startDirector({ config }: { readonly config: object }): Promise<Figures> {
  const node = await startNode(config, { env: {} });
  try {
    await node.ready;
    const times: number[] = [];
    for (let time = 0; time < 5; time += 1) {
      const begin = performance.now();
      const director = await new Promise<Director>((resolve) => {
        const seen = new Set<string>();
        const started: Director = node.client().direct(QUEUE, {
          concurrency: 100,
          stopMs: 1,
          handle: async ({ name }, signal) => {
            if (seen.add(name).size === 100) resolve(started);
            await delay(60_000, undefined, { signal }).catch(() => {});
          },
        });
      });
      times.push(performance.now() - begin);
      await director.stop();
    }
    const sorted = times.toSorted((a, b) => a - b);
    return { "ms to hand out": sorted[2] ?? Number.NaN };
  } finally {
    await node.close();
  }
}

/** Finishes entries over HTTP with directors whose handlers wait. */
export async function directOverHttp({
  port,
  directors,
  entries,
  concurrency,
  waitMs,
  queue,
  shards = POLICY.shards,
  isBacklog = false,
}: {
  readonly port: number;
  readonly directors: number;
  readonly entries: number;
  readonly concurrency: number;
  readonly waitMs: number;
  readonly queue: string;
  readonly shards?: number;
  /** Whether the entries are enqueued before the directors start. */
  readonly isBacklog?: boolean;
}): Promise<Figures> {
  const clients = Array.from(
    { length: directors },
    () => new CairnClient({ urls: `http://127.0.0.1:${port}` }),
  );
  const [first = new CairnClient({ urls: [] })] = clients;
  const queues = Object.fromEntries((await first.queues()).map(({ name, policy }) => [name, policy]));
  await first.transact({
    ops: [["configure", { queues: { ...queues, [queue]: { ...POLICY, shards, lease: "PT3S" } } }]],
  });
  const load = async () => await enqueue((ops) => first.transact({ ops }), entries, OPEN_ENTRY, "e", queue);
  if (isBacklog) await load();
  let begin = performance.now();
  let finished = 0;
  const started = clients.map((client) =>
    client.direct(queue, {
      concurrency,
      drainAt: false,
      handle: async () => {
        await delay(waitMs);
        finished += 1;
      },
    }),
  );
  if (!isBacklog) {
    await allFinished(() => Promise.resolve(started.every((one) => one.shards.length > 0) ? 0 : 1));
    begin = performance.now();
    await load();
  }
  await allFinished(async () => (finished < entries ? 1 : (await first.queue(queue)).open));
  const seconds = (performance.now() - begin) / 1_000;
  await Promise.all(started.map((director) => director.stop()));
  return { "entries/s": entries / seconds };
}

async function startQueue(config: object): Promise<CairnNode> {
  const node = await startNode(config, { env: {} });
  await node.ready;
  const { txId } = await node.submit({ ops: [["configure", { queues: { [QUEUE]: POLICY } }]] });
  await node.await(txId);
  return node;
}

type EnqueueAll = readonly TxOperation[];

/** Enqueues entries in few transactions, and returns the last one. */
async function enqueue(
  submit: (ops: EnqueueAll) => Promise<{ readonly txId: number }>,
  count: number,
  document: { readonly state: string; readonly text: string },
  prefix: string,
  queue = QUEUE,
): Promise<number> {
  let last = 0;
  for (let from = 0; from < count; from += 8 * BATCH) {
    const batches = Array.from({ length: 8 }, (_, at) => from + at * BATCH).filter((at) => at < count);
    const sent = batches.map((at) =>
      submit(
        Array.from(
          { length: Math.min(BATCH, count - at) },
          (_, n) => ["enqueue", queue, `${prefix}${at + n}`, document] as const,
        ),
      ),
    );
    for (const { txId } of await Promise.all(sent)) last = Math.max(last, txId);
  }
  return last;
}

async function allFinished(left: () => Promise<number>): Promise<void> {
  while ((await left()) > 0) await delay(POLL_MS);
}
