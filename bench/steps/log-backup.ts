import { setTimeout as delay } from "node:timers/promises";
import { levelProvider } from "@cairn/kv";
import { type CairnNode, startNode } from "@cairn/node";
import { BUCKET, recordKey, Records, scattered } from "../data/records.ts";
import type { Figures } from "../harness/figures.ts";
import { callSteadily, percentiles } from "../harness/latencies.ts";

const POLL_MS = 50;
const WINDOW = 1_000;
const SUBMITTED_PER_SECOND = 500;
const MB = 1_000_000;
/**
 * The number of times that the documents are changed: segments are merged once more data is written than a segment
 * holds.
 */
const TIMES_CHANGED = 4;
/** The tag of a log in a message. Only its length matters here. */
const ANY_TAG = "0".repeat(16);

/** Starts a node that backs its log up, and ends once the backup contains the whole log. */
export async function fillBackup({ config }: { readonly config: object }): Promise<Figures> {
  const node = await startNode(config, { env: {} });
  try {
    await node.ready;
    await backedUp(node, (await node.status()).log.lastTxId ?? 0);
    return {};
  } finally {
    await node.close();
  }
}

/**
 * Puts records, changes some of them in scattered order several times, and measures how many bytes the backup writes
 * for a change. Changes them once more while nothing is backed up, compacts the whole index, and measures again.
 */
export async function changeAndBackUp(input: {
  readonly config: object;
  /** The same node without a backup. */
  readonly withoutBackup: object;
  /** The directory of the node's LevelDB database. */
  readonly index: string;
  readonly records: number;
  readonly changes: number;
}): Promise<Figures> {
  const records = new Records(input.records);
  const changed = Array.from({ length: input.changes }, (_, n) => scattered(n, input.records));
  let uploaded = { written: 0, merged: 0 };
  const withNode = async <T>(config: object, work: (node: CairnNode) => Promise<T>): Promise<T> => {
    const node = await startNode(config, {
      env: {},
      onEvent: (event) => {
        if (event.work !== "backup" || event.stage !== "ended") return;
        uploaded = {
          written: uploaded.written + bytesOf(event.written),
          merged: uploaded.merged + bytesOf(event.merged),
        };
      },
    });
    try {
      await node.ready;
      return await work(node);
    } finally {
      await node.close();
    }
  };
  const put = async (node: CairnNode, index: number): Promise<number> => {
    const document = JSON.parse(records.document(index));
    return (await node.submit({ ops: [["put", BUCKET, recordKey(index), document]] })).txId;
  };
  const change = async (node: CairnNode): Promise<number> => {
    let last = 0;
    for (const index of changed) last = await put(node, index);
    return last;
  };
  const [written = 0, merged = 0] = await withNode(input.config, async (node) => {
    let last = 0;
    for (let from = 0; from < input.records; from += WINDOW) {
      const indexes = Array.from({ length: Math.min(WINDOW, input.records - from) }, (_, n) => from + n);
      last = Math.max(...(await Promise.all(indexes.map((index) => put(node, index)))));
    }
    await backedUp(node, last);
    const before = uploaded;
    for (let time = 0; time < TIMES_CHANGED; time += 1) await backedUp(node, await change(node));
    const bytes = [uploaded.written - before.written, uploaded.merged - before.merged] as const;
    return bytes.map((sum) => sum / TIMES_CHANGED / MB);
  });
  const last = await withNode(input.withoutBackup, async (node) => {
    const txId = await change(node);
    await node.await(txId);
    return txId;
  });
  const index = await levelProvider().open(input.index);
  await index.compact();
  await index.close();
  uploaded = { written: 0, merged: 0 };
  await withNode(input.config, (node) => backedUp(node, last));
  const bytes = changed.reduce((sum, one) => sum + records.message(one, ANY_TAG).length, 0);
  return {
    "MB of changes": bytes / MB,
    "MB written": written,
    "MB written and merged": written + merged,
    "MB written once compacted": uploaded.written / MB,
    "MB written and merged once compacted": (uploaded.written + uploaded.merged) / MB,
  };
}

/** Submits transactions at a constant rate, and measures how long each takes until it can be read. */
export async function submitSteadily(input: {
  readonly config: object;
  readonly seconds: number;
}): Promise<Figures> {
  const node = await startNode(input.config, { env: {} });
  try {
    await node.ready;
    const latencies: number[] = [];
    const records = new Records(100_000);
    const load = { perSecond: SUBMITTED_PER_SECOND, seconds: input.seconds };
    await callSteadily(load, async (sent, due) => {
      await node.await(
        await node.submit({ ops: [["put", BUCKET, recordKey(sent), JSON.parse(records.document(sent))]] }),
      );
      latencies.push(performance.now() - due);
    });
    const at = percentiles(latencies);
    return { "p50, ms": at(0.5), "p99, ms": at(0.99) };
  } finally {
    await node.close();
  }
}

/** Waits until the backup holds transaction `txId`. */
async function backedUp(node: CairnNode, txId: number): Promise<void> {
  for (;;) {
    const last = (await node.status()).logBackup?.covered?.at(-1)?.last;
    if (last !== undefined && last >= txId) return;
    await delay(POLL_MS);
  }
}

function bytesOf(segments: readonly { readonly bytes: number }[]): number {
  return segments.reduce((sum, { bytes }) => sum + bytes, 0);
}
