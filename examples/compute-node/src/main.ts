import { isCairnError, startNode } from "@cairn/node";
import { failAbandoned, runExecutions } from "./compute-node.ts";
import { ExecutionStore } from "./execution-store.ts";
import { executionPolicies } from "./executions.ts";

const { KEEP_FOR: keepFor = "P30D" } = process.env;
const slots = Number(process.env["SLOTS"] ?? 4);

async function main(): Promise<void> {
  if (!Number.isInteger(slots) || slots < 1) throw new RangeError("SLOTS must be a whole number, 1 or more.");
  const ended = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => ended.abort());
  // Everything else is configured as for `cairn start`: CAIRN_DIR, CAIRN_INDEX_PATH, CAIRN_HTTP_PORT, …
  const node = await startNode({ "cairn/policies": executionPolicies(keepFor) });
  try {
    const store = await ExecutionStore.open(node);
    print({ ready: node.url, ...(await store.counters()) });
    print({ abandoned: await failAbandoned(store) });
    await runExecutions(store, { slots, signal: ended.signal });
  } finally {
    await node.close();
  }
}

function print(line: object): void {
  console.log(JSON.stringify(line));
}

main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  if (isCairnError(error) && error.hint !== undefined) console.error(`  hint: ${error.hint}`);
  process.exitCode = 3;
});
