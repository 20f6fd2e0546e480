import { join } from "node:path";
import { startNode } from "@cairn/node";
import { ClassicLevel } from "classic-level";
import { executionsConfig, execution } from "../data/executions.ts";
import type { Figures } from "../harness/figures.ts";

/** Which documents are read: so many at random of those with numbers below `count`. */
export interface PointReads {
  /** The folder of a node that nobody uses. */
  readonly dir: string;
  readonly count: number;
  readonly reads: number;
  /** As many as wait for an answer at once. */
  readonly callers: number;
}

// Until the compiler has done its work.
const WARM = 100_000;

/** Through the embedding API. */
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

/** The same rows from the same files, by classic-level alone, as text too. */
export async function readFromLevel({ dir, ...wanted }: PointReads): Promise<Figures> {
  const level = new ClassicLevel<Uint8Array, string>(join(dir, "index", "live"), {
    keyEncoding: "view",
    valueEncoding: "utf8",
    cacheSize: 16 << 20,
  });
  try {
    await level.open();
    return await readsPerSecond(wanted, (index) => {
      // docs/index-format.md has the layout of keys.
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
        if ((await read(index)) === undefined) throw new Error(`execution ${index} is not there`);
      }
    };
    await Promise.all(Array.from({ length: callers }, caller));
  };
  await many(WARM);
  const cpu = process.cpuUsage();
  const begin = performance.now();
  await many(reads);
  const { user, system } = process.cpuUsage(cpu);
  return {
    "reads/s": reads / ((performance.now() - begin) / 1000),
    "cpu us a read": (user + system) / reads,
  };
}
