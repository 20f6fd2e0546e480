import type { CairnClient } from "@cairn/client";
import type { Execution } from "../../src/executions.ts";

/** Counts the executions in each state as of a transaction by reading every one of them. */
export async function fullCount(client: CairnClient, asOf: number): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for await (const { document } of client.list<Execution>("executions", { asOf, pageSize: 1_000 })) {
    counts[document.state] = (counts[document.state] ?? 0) + 1;
  }
  return counts;
}

/** Returns the counters of GET /api/v1/buckets and their transaction. */
export async function reportedCounters(
  url: string,
): Promise<{ txId: number; counters: Record<string, number> }> {
  const answer = await fetch(`${url}/api/v1/buckets`);
  const buckets = (await answer.json()) as {
    name: string;
    fields: { state?: { counts: Record<string, number> } };
  }[];
  const counters = buckets.find(({ name }) => name === "executions")?.fields.state?.counts;
  if (counters === undefined) throw new Error(`no counters of states: ${JSON.stringify(buckets)}`);
  return { txId: Number(answer.headers.get("cairn-tx")), counters };
}
