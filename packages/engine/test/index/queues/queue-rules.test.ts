import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { type KvRow, type KvStore, levelProvider, memoryProvider, isCairnError } from "@cairn/kv";
import { commitSeed } from "@cairn/kv/testing";
import fc from "fast-check";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { QueueHolder, AnyOperation } from "@cairn/client";
import { IndexStore } from "../../../src/index/index-store.ts";
import { readEntry, readOpenEntries, readQueue } from "../../../src/index/read/queue-reads.ts";
import { checkRows } from "../../../src/index/inspect/check-rows.ts";
import type { LogMessage } from "../../../src/log/tx-log.ts";
import { encodeBirthRecord, encodeTransaction } from "../../../src/transactions/transaction-codec.ts";
import { cut, empty } from "../support/cut-log.ts";
import { type IntendedTransaction, intended, POLICY, QUEUE } from "../support/queue-intents.ts";
import { QueueOracle } from "../support/queue-oracle.ts";
import { separateRows } from "@cairn/test-support/nodes/separate-rows";

let folder = "";
let counter = 0;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-queues-"));
});
afterAll(async () => await rm(folder, { recursive: true, force: true }));

function freshDir(): string {
  counter += 1;
  return path.join(folder, String(counter));
}

const NAMES = ["a", "b", "c", "d", "e", "f"];
const SHARDS = [0, 1, 2, 3];

/** The seed of the runs that are made with every commit. */
const SEED = commitSeed();
/** How many runs the campaign makes; more with CAIRN_TEST_RUNS. */
const RUNS = Number(process.env["CAIRN_TEST_RUNS"] ?? 60);

/** Applies intents one by one, and compares the index with the oracle after each. Returns the log. */
async function applied(
  index: IndexStore,
  kv: KvStore,
  all: readonly IntendedTransaction[],
): Promise<LogMessage[]> {
  const oracle = new QueueOracle(QUEUE);
  const messages: LogMessage[] = [];
  const append = async (payload: Uint8Array, time: number): Promise<void> => {
    messages.push({ position: messages.length + 1, time, payload });
    await index.apply(messages.slice(-1));
  };
  await append(encodeBirthRecord({ log: "log-1", offset: 0 }), 0);
  let time = 0;
  const first: IntendedTransaction = {
    intents: [() => ["configure", { queues: { [QUEUE]: POLICY } }]],
    wait: 1,
  };
  for (const { intents, wait } of [first, ...all]) {
    time += wait;
    const ops: AnyOperation[] = intents.map((intent) => intent(oracle));
    const payload = encoded(ops);
    if (payload === undefined) continue;
    const txId = messages.length + 1;
    const expected = oracle.apply(ops, txId, time);
    await append(payload, time);
    const outcome = await index.outcome(txId);
    const { committed, shards = [], reason } = outcome ?? {};
    expect({ ops, committed, shards, reason }).toEqual({ ops, reason, ...expected });
    expect((await index.commitResult(txId))?.outcome).toEqual(outcome);
    await expectLikeOracle(index, oracle);
    await expectInvariants(index, kv, oracle);
  }
  return messages;
}

/** Returns the message; undefined for operations that no transaction can contain together. */
function encoded(ops: readonly AnyOperation[]): Uint8Array | undefined {
  try {
    return encodeTransaction({ ops }, "log-1");
  } catch (error) {
    if (isCairnError(error, "TX_INVALID")) return undefined;
    throw error;
  }
}

function shownHolder(holder: ReturnType<QueueOracle["holder"]>): QueueHolder | null {
  return holder === undefined ? null : { as: holder.as, until: new Date(holder.until).toISOString() };
}

async function expectLikeOracle(index: IndexStore, oracle: QueueOracle): Promise<void> {
  const { queue } = await index.ask(readQueue, QUEUE);
  expect(queue?.policy).toEqual(oracle.policy);
  if (queue === undefined) return;
  expect(queue.shards).toEqual(
    oracle.shards().map((shard) => ({
      shard,
      state: oracle.state(shard),
      entries: oracle.within(shard).length,
      open: oracle.within(shard).filter(({ open }) => open).length,
      epoch: oracle.epoch(shard) || null,
      holder: shownHolder(oracle.holder(shard)),
    })),
  );
  const entries = oracle.entries();
  const { documents } = await index.list({ bucket: QUEUE, limit: 100 });
  expect(documents.map(({ namespace, name }) => `${namespace}/${name}`).toSorted()).toEqual(
    [...entries.values()].map(({ shard, name }) => `${shard}/${name}`).toSorted(),
  );
  for (const name of NAMES) {
    const entry = entries.get(name);
    const { entry: found } = await index.ask(readEntry, QUEUE, name);
    expect(found?.place).toEqual(
      entry && {
        shard: entry.shard,
        isOpen: entry.open,
        txId: entry.born[0],
        at: entry.born[1],
        moved: entry.moved,
      },
    );
  }
  for (const shard of SHARDS) {
    const open = oracle.within(shard).filter((entry) => entry.open);
    const ordered = open.toSorted((a, b) => a.born[0] - b.born[0] || a.born[1] - b.born[1]);
    const { entries: found } = await index.ask(readOpenEntries, { queue: QUEUE, shard, limit: 10 });
    expect(found.map(({ document }) => `${document.namespace}/${document.name}`)).toEqual(
      ordered.map(({ name }) => `${shard}/${name}`),
    );
    const first = await index.ask(readOpenEntries, { queue: QUEUE, shard, limit: 1 });
    const { cursor } = first;
    const rest =
      cursor === undefined
        ? []
        : (await index.ask(readOpenEntries, { queue: QUEUE, shard, limit: 10, cursor })).entries;
    expect([...first.entries, ...rest]).toEqual(found);
  }
}

/** What must hold whatever the rules say. */
async function expectInvariants(index: IndexStore, kv: KvStore, oracle: QueueOracle): Promise<void> {
  if (oracle.policy === undefined) return;
  const { queue } = await index.ask(readQueue, QUEUE);
  const drained = queue?.shards.filter(({ state }) => state === "draining") ?? [];
  expect(drained.length).toBeLessThanOrEqual(1);
  const used = new Set(queue?.shards.map(({ shard }) => String(shard)));
  const rows = await allRows(kv);
  const names: string[] = [];
  const keys = new Set<string>();
  for (const [key] of rows) {
    const [bucket, namespace = "", name = ""] = Buffer.from(key.subarray(1)).toString("latin1").split("\0");
    if (!"cdh".includes(String.fromCharCode(key[0] ?? 0)) || bucket !== QUEUE) continue;
    expect(used).toContain(namespace);
    keys.add(`${namespace}/${name}`);
    if (key[0] === 0x63) names.push(name);
  }
  expect(new Set(names).size).toBe(names.length);
  // An evicted entry has no row in any shard.
  const left = oracle
    .shards()
    .flatMap((shard) => [...oracle.rowNames(shard)].map((name) => `${shard}/${name}`));
  expect(keys).toEqual(new Set(left));
}

async function allRows(kv: KvStore): Promise<KvRow[]> {
  const found: KvRow[] = [];
  for await (const rows of separateRows(kv)) found.push(...rows.map(([key, value]) => [key, value] as KvRow));
  return found;
}

async function expectRules(runs: fc.Parameters<[IntendedTransaction[], number[], number[]]>): Promise<void> {
  await fc.assert(
    fc.asyncProperty(
      fc.array(intended, { minLength: 20, maxLength: 80, size: "max" }),
      fc.array(fc.integer({ min: 1, max: 9 }), { maxLength: 6 }),
      fc.array(fc.integer({ min: 1, max: 9 }), { maxLength: 3 }),
      async (all, cutsA, cutsB) => {
        const kvs = [await memoryProvider().open(freshDir()), await memoryProvider().open(freshDir())];
        const [one, two] = kvs as [KvStore, KvStore];
        let dir = freshDir();
        let three = await levelProvider().open(dir);
        try {
          const left = await IndexStore.open(one, empty);
          const messages = await applied(left, one, all);
          const right = await IndexStore.open(two, empty);
          for (const run of cut(messages, cutsA)) await right.apply(run);
          let restored = await IndexStore.open(three, empty);
          for (const run of cut(messages, cutsB)) {
            await restored.apply(run);
            const copy = freshDir();
            await restored.rows.capture(copy);
            await restored.close();
            dir = copy;
            three = await levelProvider().open(dir);
            restored = await IndexStore.open(three, empty);
          }
          expect(await restored.chains()).toEqual(await left.chains());
          const rows = await allRows(one);
          expect(await allRows(two)).toEqual(rows);
          expect(
            (await allRows(three)).map(([key, value]) => [Buffer.from(key), Buffer.from(value)]),
          ).toEqual(rows.map(([key, value]) => [Buffer.from(key), Buffer.from(value)]));
          const problems: string[] = [];
          for await (const { problem } of checkRows(one, left.state)) problems.push(problem);
          expect(problems).toEqual([]);
        } finally {
          await Promise.all([one.close(), two.close(), three.close()]);
        }
      },
    ),
    runs,
  );
}

const PROMISE =
  "a queue follows its rules after every transaction, and its rows depend on the log alone: not on batches, restarts or checkpoints";

it(`${PROMISE} (seed ${SEED})`, async () => {
  await expectRules({ seed: SEED, numRuns: 3 });
});

it(`${PROMISE}, in ${RUNS} runs`, { tags: "rest/campaign", timeout: 600_000 }, async () => {
  await expectRules({ numRuns: RUNS, interruptAfterTimeLimit: 240_000 });
});
