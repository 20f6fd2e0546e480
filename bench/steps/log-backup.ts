import { setTimeout as delay } from "node:timers/promises";
import { type CairnNode, startNode } from "@cairn/node";
import { BUCKET, recordKey, Records } from "../data/records.ts";
import type { Figures } from "../harness/figures.ts";

const POLL_MS = 50;
const WINDOW = 1_000;
const SUBMITTED_PER_SECOND = 500;
const MB = 1_000_000;
/** The tag of a log in a message; only its length matters here. */
const ANY_TAG = "0".repeat(16);

/** Starts a node that backs its log up, and ends once the backup holds all of it. */
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

/** Puts records, changes some of them in scattered order, and measures what the backup writes for the changes. */
export async function changeAndBackUp(input: {
  readonly config: object;
  readonly records: number;
  readonly changes: number;
}): Promise<Figures> {
  const records = new Records(input.records);
  let uploaded = { written: 0, merged: 0 };
  const node = await startNode(input.config, {
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
    let last = 0;
    const put = async (index: number): Promise<void> => {
      const document = JSON.parse(records.document(index));
      last = (await node.submit({ ops: [["put", BUCKET, recordKey(index), document]] })).txId;
    };
    for (let from = 0; from < input.records; from += WINDOW) {
      const indexes = Array.from({ length: Math.min(WINDOW, input.records - from) }, (_, n) => from + n);
      await Promise.all(indexes.map(put));
    }
    await backedUp(node, last);
    const before = uploaded;
    let bytes = 0;
    for (let change = 0; change < input.changes; change += 1) {
      const index = (change * 514_229) % input.records;
      bytes += records.message(index, ANY_TAG).length;
      await put(index);
    }
    await backedUp(node, last);
    const written = (uploaded.written - before.written) / MB;
    return {
      "MB of changes": bytes / MB,
      "MB written": written,
      "MB written and merged": written + (uploaded.merged - before.merged) / MB,
    };
  } finally {
    await node.close();
  }
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
    const waiting = new Set<Promise<void>>();
    const records = new Records(100_000);
    const begin = performance.now();
    for (let sent = 0; sent < SUBMITTED_PER_SECOND * input.seconds; sent += 1) {
      const due = begin + (sent / SUBMITTED_PER_SECOND) * 1_000;
      await delay(Math.max(0, due - performance.now()));
      const submit = async (): Promise<void> => {
        await node.await(
          await node.submit({ ops: [["put", BUCKET, recordKey(sent), JSON.parse(records.document(sent))]] }),
        );
        latencies.push(performance.now() - due);
      };
      const one: Promise<void> = submit().finally(() => waiting.delete(one));
      waiting.add(one);
    }
    await Promise.all(waiting);
    latencies.sort((a, b) => a - b);
    const at = (share: number): number => latencies[Math.floor(share * (latencies.length - 1))] ?? 0;
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
