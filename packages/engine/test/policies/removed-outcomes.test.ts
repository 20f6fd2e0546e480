import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { levelProvider } from "@cairn/kv";
import { takeMessages } from "@cairn/engine/testing";
import { afterEach, beforeEach, expect, it } from "vitest";
import { IndexStore } from "../../src/index/index-store.ts";
import { emptyState } from "../../src/index/rows/index-state.ts";
import { openEmbeddedTxLog } from "../../src/log/embedded/embedded-tx-log.ts";
import { readLogIdentity } from "../../src/log/log-identity.ts";
import type { CairnNode } from "../../src/node/node.ts";
import { runNode } from "@cairn/node";
import { quietSystem } from "@cairn/test-support/nodes/quiet-system";
import { madePosition } from "@cairn/test-support/nodes/positions";

/** In place of 1,000,000. */
const REMEMBERED = 150;
const TRANSACTIONS = 1_000;

let folder = "";
let node: CairnNode | undefined;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-outcomes-"));
});
afterEach(async () => {
  await node?.close();
  await rm(folder, { recursive: true, force: true });
});

const openTxLog = async () => await openEmbeddedTxLog({ path: path.join(folder, "node-log") });
const live = () => path.join(folder, "node-index", "live");

async function start(): Promise<CairnNode> {
  const system = quietSystem({ folder, nodeId: "node", openTxLog });
  node = await runNode({ ...system, http: { host: "127.0.0.1", port: 0, maxBody: 1_048_576 } });
  await node.ready;
  return node;
}

/** Builds the index of the stopped node again, as if its log had 1,000,000 more transactions. */
async function rebuildWithFewerOutcomes(): Promise<number> {
  await rm(live(), { recursive: true });
  const log = await openTxLog();
  const kv = await levelProvider().open(live());
  try {
    const identity = await readLogIdentity(log);
    if (identity === undefined) throw new Error("there is no log");
    const index = await IndexStore.open(kv, emptyState(identity), REMEMBERED);
    await index.apply(await takeMessages(log, 1, TRANSACTIONS));
    return index.state.outcomesAfter ?? 0;
  } finally {
    await kv.close();
    await log.close();
  }
}

it("a node answers 410 with the code for an outcome and for a time beyond the bound, and its hints end well", async () => {
  const first = await start();
  await first.submit({ ops: [["configure", { outcomes: { for: 1 } }]] });
  // Transactions that are stored together have the same time.
  for (let n = 0; n < TRANSACTIONS - 2; n += 100) {
    const puts = Array.from({ length: Math.min(100, TRANSACTIONS - 2 - n) }, (_, at) =>
      first.submit({ ops: [["put", "pods", `default/k${n + at}`, n]] }),
    );
    await Promise.all(puts);
  }
  await first.await(TRANSACTIONS);
  const begin = (await first.outcome(3))?.txTime;
  await first.close();
  const removedUpTo = await rebuildWithFewerOutcomes();
  expect(removedUpTo).toBeGreaterThan(100);

  const { url = "" } = await start();
  const ask = async (address: string) => {
    const answer = await fetch(`${url}/api/v1/${address}`);
    return {
      status: answer.status,
      body: (await answer.json()) as { error: { code: string; hint: string }; position?: string },
    };
  };
  const removed = { status: 410, body: { error: { code: "OUTCOME_REMOVED" } } };
  expect(await ask(`tx/${removedUpTo}`)).toMatchObject(removed);
  expect(await ask(`tx/3?timeout=PT5S`)).toMatchObject(removed);
  const kept = await ask(`tx/${removedUpTo + 1}`);
  expect(kept).toMatchObject({ status: 200, body: { committed: true } });
  for (const unknown of [0, TRANSACTIONS + 1])
    expect(await ask(`tx/${unknown}`)).toMatchObject({ status: 404 });
  // The hint: the history of a document names the transaction that wrote it.
  expect(await ask("pods/default/k0?history=true")).toMatchObject({ status: 200, body: [{ revision: 3 }] });
  const past = await ask(`pods?as-of=${begin}`);
  expect(past).toMatchObject(removed);
  const [, time] = /^Use (\S+) or a later time/.exec(past.body.error.hint) ?? [];
  expect(await ask(`pods?as-of=${time}`)).toMatchObject({ status: 200 });
  expect(await ask("pods?as-of=10&limit=20")).toMatchObject({ status: 200, body: { length: 8 } });
  expect(await ask(`watch?from=${madePosition(removedUpTo)}`)).toMatchObject({
    status: 410,
    body: { error: { code: "WATCH_COMPACTED" }, floor: kept.body.position },
  });
});
