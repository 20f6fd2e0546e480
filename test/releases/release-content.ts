import { setTimeout as sleep } from "node:timers/promises";
import type { AnyOperation, Policies, TxOutcome } from "@cairn/client";
import type { CairnNode } from "@cairn/node";

/**
 * Writes something of every kind that an index stores, and every kind of outcome: the content of a fixture. A later
 * version adds to it what it can write beyond that. Some of it must expire, so it takes a few seconds.
 */
export async function fill(node: CairnNode): Promise<void> {
  const transact = async (ops: readonly AnyOperation[], id?: string): Promise<TxOutcome> =>
    await node.await(await node.submit({ ops, ...(id !== undefined && { id }) }));

  await transact([["configure", POLICIES]]);
  for (let n = 0; n < 40; n += 1) {
    const state = n % 3 === 0 ? "done" : "open";
    const document = {
      n,
      state,
      text: 'ä\u{1F600} \u0000 " x'.repeat(n % 4),
      deep: [{ list: [null, n / 7, -n] }],
    };
    await transact([["put", "things", `space-${n % 3}/thing ${n % 25}`, document]]);
  }
  await transact([["delete", "things", "space-0/thing 3"]]);
  await transact([
    ["match", "things", "space-1/thing 4", 5],
    ["put", "things", "never", 1],
  ]);
  for (let n = 0; n < 12; n += 1) await transact([["put", "bounded", "counter", n]]);
  for (const name of ["kept", "gone"]) await transact([["put", "secrets", name, { secret: name }]]);
  await transact([["put", "secrets", "gone", { secret: "again" }]]);
  await transact([["evict", "secrets", "gone"]]);
  await transact([["put", "once", "a", 1]], "an id");
  for (let n = 0; n < 5; n += 1) {
    const event = { object: `things/thing ${n}`, reason: "Seen", message: `${n} times`, bucket: "things" };
    await transact([["event", { ...event, type: "Normal", source: "fixture" }]]);
  }
  await node.prepareRead({ linearizable: true });
  // Links of the chains, and versions that a bound on history removes.
  for (let n = 0; n < 1_400; n += 1) await transact([["put", "bounded", "counter", n]]);
  await queues(transact);
  await transact([["put", "fleeting", "a", { state: "done" }]]);
  await transact([["put", "fleeting", "b", { state: "open" }]]);
  await sleep(EXPIRED_MS);
  await transact([["put", "things", "space-2/last", { state: "open" }]]);
  // One that has yet to expire, with a transaction after this one.
  await transact([["put", "fleeting", "later", { state: "done" }]]);
}

const EXPIRED_MS = 1_500;

const POLICIES: Policies = {
  indexes: { things: ["state", "n"] },
  expire: { fleeting: { when: { state: ["done"] }, after: "PT1S" } },
  history: { bounded: { keep: 3 } },
  events: { keep: 1_000 },
  outcomes: { keep: 2_000_000 },
  queues: {
    jobs: {
      shards: 3,
      cap: 100,
      terminal: { state: ["done"] },
      lease: "PT1S",
      retry: { first: "PT1S", limit: 3, dead: { state: "done" } },
    },
  },
};

async function queues(transact: (ops: readonly AnyOperation[]) => Promise<TxOutcome>): Promise<void> {
  for (let n = 0; n < 9; n += 1) await transact([["enqueue", "jobs", `job-${n}`, { state: "open", n }]]);
  const claimed = await transact([["claim", "jobs", 0, { as: "director" }]]);
  const hold = { epoch: claimed.txId, as: "director" };
  await transact([["put", "jobs", "0/job-0", { state: "done", n: 0 }, hold]]);
  await transact([["claim", "jobs", 0, { as: "another" }]]);
  await transact([["release", "jobs", 0, hold]]);
  await transact([["drain", "jobs", 1, { as: "drainer" }]]);
}
