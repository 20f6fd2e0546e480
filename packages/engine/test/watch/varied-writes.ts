import type { AnyOperation } from "@cairn/client";
import type { Picks } from "@cairn/test-support/seeded-random";
import type { CairnNode } from "../../src/node/node.ts";

/** Returns all documents of buckets, by their keys. */
export async function documentsNow(
  node: CairnNode,
  buckets: readonly string[],
): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const bucket of buckets) {
    let cursor: string | undefined;
    do {
      const page = await node.list({ bucket, limit: 1_000, ...(cursor === undefined ? {} : { cursor }) });
      for (const { namespace, name, revision, json } of page.documents)
        found.set(`${bucket} ${namespace}/${name}`, `${revision} ${json}`);
      ({ cursor } = page);
    } while (cursor !== undefined);
  }
  return found;
}

export function sorted(documents: ReadonlyMap<string, string>): readonly (readonly [string, string])[] {
  return [...documents].toSorted(([a], [b]) => (a < b ? -1 : 1));
}

/** Writes, deletes or evicts a document. */
export async function writeOne(node: CairnNode, picks: Picks): Promise<void> {
  const bucket = picks.of(["plain", "short"]);
  const name = `${picks.of(["a", "b"])}/${picks.below(12)}`;
  const kind = picks.below(10);
  if (kind < 6) await node.await(await node.submit({ ops: [["put", bucket, name, picks.below(100)]] }));
  else if (kind < 8) await node.await(await node.submit({ ops: [["delete", bucket, name]] }));
  else await node.await(await node.submit({ ops: [["evict", bucket, name]] }));
}

/** Enqueues, finishes and evicts entries, and drains shards, which moves entries and retires the shards. */
export async function workOnQueue(node: CairnNode, picks: Picks, round: number): Promise<void> {
  const run = async (...ops: AnyOperation[]) => await node.await(await node.submit({ ops }));
  for (let n = picks.below(9); n >= 0; n -= 1)
    await run(["enqueue", "mails", `m${round}-${n}`, { state: "new" }]);
  const { queue } = await node.queue("mails");
  for (const { shard, state } of queue.shards) {
    if (state !== "active" || picks.below(2) === 0) continue;
    const drains = picks.below(3) === 0;
    const taken = await run([drains ? "drain" : "claim", "mails", shard, { as: `worker-${round}` }]);
    if (!taken.committed) continue;
    const epoch = taken.txId;
    const others = queue.shards.filter((one) => one.state === "active" && one.shard !== shard);
    const { entries } = await node.openEntries({ queue: "mails", shard });
    for (const { document } of entries) {
      const key = `${shard}/${document.name}`;
      const [other] = others;
      if (drains && other !== undefined) await run(["move", "mails", key, other.shard, epoch]);
      else if (picks.below(8) === 0) await run(["evict", "mails", key]);
      else if (picks.below(2) === 0) await run(["put", "mails", key, { state: "done" }, { epoch }]);
    }
    if (drains) await run(["retire", "mails", shard, epoch]);
    await run(["release", "mails", shard, epoch]);
  }
}
