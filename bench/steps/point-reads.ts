import { join } from "node:path";
import { startNode } from "@cairn/node";
import { ClassicLevel } from "classic-level";
import { executionsConfig, execution } from "../data/executions.ts";
import type { Figures } from "../harness/figures.ts";

/** Random reads of documents with numbers below `count`. */
export interface PointReads {
  /** The folder of a node that is not running. */
  readonly dir: string;
  readonly count: number;
  readonly reads: number;
  /** The number of concurrent reads. */
  readonly callers: number;
}

// After this number of reads, the compiler has finished.
const WARMUP_READS = 100_000;

/** Reads through the embedding API. */
export async function readThroughNode({ dir, ...wanted }: PointReads): Promise<Figures> {
  const node = await startNode(executionsConfig(dir), { env: {} });
  try {
    await node.ready;
    return await readsPerSecond(wanted, async (index) => {
      const name = execution(index).key.slice("default/".length);
      return (await node.get({ bucket: "executions", namespace: "default", name }))?.json;
    });
  } finally {
    await node.close();
  }
}

/** Reads the same rows from the same files with classic-level alone, also as strings. */
export async function readFromLevel({ dir, ...wanted }: PointReads): Promise<Figures> {
  const level = new ClassicLevel<Uint8Array, string>(join(dir, "index", "live"), {
    keyEncoding: "view",
    valueEncoding: "utf8",
    cacheSize: 16 << 20,
  });
  try {
    await level.open();
    return await readsPerSecond(wanted, (index) => {
      // docs/internals/index-format.md describes the layout of keys.
      const key = `cexecutions\0${execution(index).key.replace("/", "\0")}\0`;
      return level.get(Buffer.from(key, "utf8"));
    });
  } finally {
    await level.close();
  }
}

async function readsPerSecond(
  { count, reads, callers }: Omit<PointReads, "dir">,
  read: (index: number) => Promise<string | undefined>,
): Promise<Figures> {
  const many = async (total: number): Promise<void> => {
    let left = total;
    let state = 1;
    const caller = async (): Promise<void> => {
      while (left > 0) {
        left -= 1;
        state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
        const index = state % count;
        if ((await read(index)) === undefined) throw new Error(`execution ${index} is missing`);
      }
    };
    await Promise.all(Array.from({ length: callers }, caller));
  };
  await many(WARMUP_READS);
  const cpu = process.cpuUsage();
  const begin = performance.now();
  await many(reads);
  const { user, system } = process.cpuUsage(cpu);
  return {
    "reads/s": reads / ((performance.now() - begin) / 1000),
    "cpu us a read": (user + system) / reads,
  };
}
