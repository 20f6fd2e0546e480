import { startNode } from "@cairn/node";
import { failAbandoned, runExecutions } from "./compute-node.ts";
import { ExecutionStore } from "./execution-store.ts";
import { executionPolicies } from "./executions.ts";

const { KEEP_FOR: keepFor = "P30D", SLOTS: slots = "4" } = process.env;

async function main(): Promise<void> {
  const ended = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => ended.abort());
  // Everything else as `cairn start` has it: CAIRN_DIR, CAIRN_INDEX_PATH, CAIRN_HTTP_PORT, …
  const node = await startNode({ "cairn/policies": executionPolicies(keepFor) });
  try {
    const store = await ExecutionStore.open(node);
    say({ ready: node.url, ...(await store.counters()) });
    say({ abandoned: await failAbandoned(store) });
    await runExecutions(store, { slots: Number(slots), signal: ended.signal });
  } finally {
    await node.close();
  }
}

function say(line: object): void {
  console.log(JSON.stringify(line));
}

main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 3;
});
