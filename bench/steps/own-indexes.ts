import { setTimeout as delay } from "node:timers/promises";
import { type CairnNode, startNode } from "@cairn/node";
import { OWN_BUCKET, ownDocument, ownKey } from "../data/own-documents.ts";
import type { Figures } from "../harness/figures.ts";

const OPEN_SUBMISSIONS = 256;
/** A status takes the node's time. */
const POLL_MS = 20;

/** Writes documents, `each` of them per transaction. Returns the last transaction. */
export async function makeOwnDocuments(input: {
  readonly config: object;
  readonly from: number;
  readonly to: number;
  readonly each: number;
}): Promise<Figures> {
  const node = await startNode(input.config, { env: {} });
  try {
    await node.ready;
    let last = 0;
    const open: Promise<{ readonly txId: number }>[] = [];
    const most = Math.max(2, OPEN_SUBMISSIONS / input.each);
    for (let from = input.from; from < input.to; from += input.each) {
      const length = Math.min(input.each, input.to - from);
      const ops = Array.from({ length }, (_, n) => putOwn(from + n));
      open.push(node.submit({ ops }));
      if (open.length >= most) last = (await open.shift())?.txId ?? last;
    }
    for (const { txId } of await Promise.all(open)) last = Math.max(last, txId);
    await node.await(last, { timeoutMs: 3_600_000 });
    return { txId: last };
  } finally {
    await node.close();
  }
}

/** Returns the operation that puts a version of a document. */
export function putOwn(index: number, version = 0): ["put", string, string, never] {
  return ["put", OWN_BUCKET, ownKey(index), ownDocument(index, version) as never];
}

/** Starts a node, and ends once it has caught up with its log. */
export async function startAndCatchUp(input: { readonly config: object }): Promise<Figures> {
  const cpu = process.cpuUsage();
  const node = await startNode(input.config, { env: {} });
  try {
    await node.ready;
    return { "to ready, cpu s": secondsOf(process.cpuUsage(cpu)) };
  } finally {
    await node.close();
  }
}

/** Reads the states of all keys that have changed since a transaction. */
export async function readStates(input: {
  readonly config: object;
  readonly after: number;
  readonly documents: number;
}): Promise<Figures> {
  const node = await startNode(input.config, { env: {} });
  try {
    await node.ready;
    const from = (await node.outcome(input.after))?.position;
    if (from === undefined) throw new Error(`there is no transaction ${input.after}`);
    const cpu = process.cpuUsage();
    const begin = performance.now();
    let states = 0;
    for await (const event of node.follow({ bucket: OWN_BUCKET, from })) {
      if (!("changes" in event)) continue;
      states += event.changes.length;
      if (event.complete) break;
    }
    const seconds = (performance.now() - begin) / 1_000;
    const cpuSeconds = secondsOf(process.cpuUsage(cpu));
    if (states !== input.documents)
      throw new Error(`there were ${states} states instead of ${input.documents}`);
    return { "states s": seconds, "states cpu s": cpuSeconds };
  } finally {
    await node.close();
  }
}

/**
 * Starts a node that waits for its own index, and measures the time from when it has caught up until the index is live.
 */
export async function buildOwnIndex(input: { readonly config: object }): Promise<Figures> {
  const node = await startNode(input.config, { env: {} });
  try {
    await caughtUp(node);
    const begin = performance.now();
    const cpu = process.cpuUsage();
    // To poll the status would take processor time as well.
    await node.ready;
    const seconds = (performance.now() - begin) / 1_000;
    const cpuSeconds = secondsOf(process.cpuUsage(cpu));
    await ownIndexLive(node);
    const { documents } = (await node.status()).index;
    if (documents === null) throw new Error("the node has no index");
    return { "rows/s": documents / seconds, "rows/cpu s": documents / cpuSeconds, s: seconds };
  } finally {
    await node.close();
  }
}

/** Resolves when a node has caught up, although it may wait for its own index before it is ready. */
export async function caughtUp(node: CairnNode): Promise<void> {
  while ((await node.status()).ownIndexes.length === 0) await delay(POLL_MS);
}

/** Resolves when the node's own index is live, and has all that the node's index has. */
export async function ownIndexLive(node: CairnNode): Promise<void> {
  for (;;) {
    const { ownIndexes, index } = await node.status();
    const [own] = ownIndexes;
    if (own?.failure) throw new Error(own.failure.message);
    if (own?.state === "live" && own.txId === index.txId) return;
    await delay(POLL_MS);
  }
}

/** Returns the processor time of all threads. */
export function secondsOf({ user, system }: NodeJS.CpuUsage): number {
  return (user + system) / 1e6;
}
