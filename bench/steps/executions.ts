import { type CairnNode, startNode, type TxOperation } from "@cairn/node";
import { executionsConfig, execution, INDEXED_FIELDS } from "../data/executions.ts";
import { peakMemory } from "../harness/peak-memory.ts";
import type { Figures } from "../harness/figures.ts";

const OPEN_SUBMISSIONS = 256;

/**
 * Fills a node's folder with executions, `each` of them per transaction, with two indexed fields if `indexed` is set.
 */
export async function makeExecutions(input: {
  readonly dir: string;
  readonly count: number;
  readonly each: number;
  readonly indexed: boolean;
  readonly filling?: string;
  readonly servers?: readonly string[];
}): Promise<Figures> {
  const node = await startNode(executionsConfig(input.dir, input.servers), { env: {} });
  try {
    await node.ready;
    if (input.indexed) await node.submit({ ops: [["configure", INDEXED_FIELDS]] });
    let last = 1;
    const open: Promise<{ txId: number }>[] = [];
    for (let from = 0; from < input.count; from += input.each) {
      const ops: TxOperation[] = [];
      for (let index = from; index < Math.min(from + input.each, input.count); index += 1) {
        const { key, document } = execution(index, input.filling);
        ops.push(["put", "executions", key, document as never]);
      }
      open.push(node.submit({ ops }));
      if (open.length >= OPEN_SUBMISSIONS) last = (await open.shift())?.txId ?? last;
    }
    for (const { txId } of await Promise.all(open)) last = Math.max(last, txId);
    await node.await(last, { timeoutMs: 3_600_000 });
    return {};
  } finally {
    await node.close();
  }
}

/** Replays a folder's log into a new index, including its counters. */
export async function replayExecutions(input: {
  readonly dir: string;
  readonly count: number;
}): Promise<Figures> {
  const begin = performance.now();
  const node = await startNode(executionsConfig(input.dir), { env: {} });
  try {
    await node.ready;
    const seconds = (performance.now() - begin) / 1000;
    await expectDocuments(node, input.count);
    return { "records/s": input.count / seconds, s: seconds, "peak MB": peakMemory() };
  } finally {
    await node.close();
  }
}

/**
 * Starts a node on its index, and measures the time until it is ready and has returned the number of executions in each
 * state.
 */
export async function restartNode(input: { readonly dir: string; readonly count: number }): Promise<Figures> {
  const begin = performance.now();
  const node = await startNode(executionsConfig(input.dir), { env: {} });
  try {
    await node.ready;
    await expectDocuments(node, input.count);
    return { s: (performance.now() - begin) / 1000 };
  } finally {
    await node.close();
  }
}

const LISTS = 300;

/** Lists the first 100 of all executions, and of those in one state, repeatedly. */
export async function listExecutions(input: { readonly dir: string }): Promise<Figures> {
  const node = await startNode(executionsConfig(input.dir), { env: {} });
  try {
    await node.ready;
    const where = { field: "state", value: "running" };
    const list = async (query: object): Promise<number> => {
      for (let warm = 0; warm < 20; warm += 1)
        await node.list({ bucket: "executions", limit: 100, ...query });
      const begin = performance.now();
      for (let round = 0; round < LISTS; round += 1) {
        const { documents } = await node.list({ bucket: "executions", limit: 100, ...query });
        if (documents.length !== 100) throw new Error(`a list has ${documents.length} documents`);
      }
      return (performance.now() - begin) / LISTS;
    };
    return { "list ms": await list({}), "where ms": await list({ where }) };
  } finally {
    await node.close();
  }
}

/** Throws unless the node counts `count` documents, in total and by state. */
async function expectDocuments(node: CairnNode, count: number): Promise<void> {
  const { buckets } = await node.buckets();
  const [executions] = buckets;
  const states = executions?.fields["state"]?.counts;
  if (executions?.documents !== count)
    throw new Error(`there are ${executions?.documents} instead of ${count}`);
  if (states === undefined) return;
  if (states === null) throw new Error("the states are not counted yet");
  const sum = Object.values(states).reduce((total, one) => total + one, 0);
  if (sum !== count) throw new Error(`the states count ${sum} instead of ${count}`);
}
