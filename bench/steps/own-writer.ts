import { type CairnNode, startNode } from "@cairn/node";
import { scattered } from "../data/records.ts";
import type { Figures } from "../harness/figures.ts";
import { callSteadily, percentiles, timeCalls } from "../harness/latencies.ts";
import { OwnLag } from "../harness/own-position.ts";
import { ownIndexLive, putOwn } from "./own-indexes.ts";

const RATES = [500, 2_000];
const WRITERS = 32;

interface WriterInput {
  readonly dir: string;
  readonly config: object;
  readonly documents: number;
  readonly seconds: number;
}

/** Overwrites documents in scattered order, at steady rates and by concurrent writers, each until it can be read. */
export async function writeBesideOwnIndex(
  input: WriterInput & { readonly hasIndex: boolean },
): Promise<Figures> {
  const node = await startNode(input.config, { env: {} });
  try {
    await node.ready;
    const settled = async (): Promise<void> => (input.hasIndex ? await ownIndexLive(node) : undefined);
    const write = writer(node, input.documents);
    await callSteadily({ perSecond: 1_000, seconds: 2 }, async () => void (await write()));
    const figures: Record<string, number> = {};
    for (const perSecond of RATES) {
      await settled();
      const latencies: number[] = [];
      await callSteadily({ perSecond, seconds: input.seconds }, async (_, due) => {
        await write();
        latencies.push(performance.now() - due);
      });
      const at = percentiles(latencies);
      figures[`p50 at ${perSecond}/s, ms`] = at(0.5);
      figures[`p99 at ${perSecond}/s, ms`] = at(0.99);
    }
    if (input.hasIndex) {
      await settled();
      const lag = await lagOf(input, write);
      figures["lag p50, ms"] = lag(0.5);
      figures["lag p99, ms"] = lag(0.99);
      await settled();
    }
    const closed = await timeCalls("tx/s", { callers: WRITERS, seconds: input.seconds }, write);
    const { ownIndexes, index } = await node.status();
    const behind = ownIndexes.map(({ txId }) => (index.txId ?? 0) - (txId ?? 0));
    return {
      ...figures,
      ...closed,
      ...(input.hasIndex && { "behind at the end, tx": behind[0] ?? Number.NaN }),
    };
  } finally {
    await node.close();
  }
}

async function lagOf(
  { dir, seconds }: WriterInput,
  write: () => Promise<number>,
): Promise<(share: number) => number> {
  const lag = new OwnLag(dir);
  try {
    await callSteadily({ perSecond: 2_000, seconds }, async () => lag.indexed(await write()));
    return lag.take();
  } finally {
    lag.close();
  }
}

const CAPTURE_LOAD = 500;

/**
 * Overwrites documents at a steady rate, and measures how long they wait to become visible in the own index: before a
 * checkpoint begins, and in as many seconds from then on.
 */
export async function captureOwnIndex(input: WriterInput): Promise<Figures> {
  const node = await startNode(input.config, { env: {} });
  const lag = new OwnLag(input.dir);
  try {
    await node.ready;
    // A log without a checkpoint gets one soon, which might be running when the measured one is to begin.
    await node.checkpoint().done;
    const write = writer(node, input.documents);
    const load = { perSecond: CAPTURE_LOAD, seconds: input.seconds };
    const run = async (): Promise<(share: number) => number> => {
      await callSteadily(load, async () => lag.indexed(await write()));
      return lag.take();
    };
    await run();
    const before = await run();
    const { begun, done } = node.checkpoint();
    // The round is ended with the node.
    done.catch(() => undefined);
    const [, during] = await Promise.all([begun, run()]);
    return {
      "p99 before, ms": before(0.99),
      "longest wait before, ms": before(1),
      "p99 during, ms": during(0.99),
      "longest wait during, ms": during(1),
    };
  } finally {
    lag.close();
    await node.close();
  }
}

function writer(node: CairnNode, documents: number): () => Promise<number> {
  let written = 0;
  const version = Date.now() % 1_000_000;
  return async () => {
    written += 1;
    const submitted = await node.submit({ ops: [putOwn(scattered(written, documents), version)] });
    await node.await(submitted);
    return submitted.txId;
  };
}
