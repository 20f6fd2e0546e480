import { createHash } from "node:crypto";
import { expect, it } from "vitest";
import { memoryProvider } from "@cairn/kv";
import { commitSeed } from "@cairn/kv/testing";
import { emptyState } from "../../src/index/rows/index-state.ts";
import { IndexStore } from "../../src/index/index-store.ts";
import type { LogMessage } from "../../src/log/tx-log.ts";
import { FOREIGN_LOG_ID, foreignLog } from "./foreign-log.ts";
import { seededRandom } from "@cairn/test-support/nodes/seeded-log";
import { separateRows } from "@cairn/test-support/nodes/separate-rows";

const SEEDS = Number(process.env["CAIRN_SOAK_ROUNDS"] ?? 20);
const FIRST = Number(process.env["CAIRN_SOAK_SEED"] ?? 1);
const MESSAGES = 500;
/** The seed that runs with every commit. */
const SAMPLE = commitSeed();

const birth = { log: FOREIGN_LOG_ID, offset: 0 };
const empty = emptyState({ id: FOREIGN_LOG_ID, name: "cairn", bounds: { first: 1, last: 1 }, birth });

/**
 * Returns all rows of an index that applied the runs, and the number of committed transactions. Fields are built as
 * soon as they are defined.
 */
async function rowsAfter(
  runs: readonly (readonly LogMessage[])[],
): Promise<{ rows: string; committed: number }> {
  const kv = await memoryProvider().open("/nonexistent/in-memory");
  const index = await IndexStore.open(kv, empty);
  let committed = 0;
  for (const run of runs) {
    committed += (await index.apply(run)).committed;
    while (await index.buildFields());
  }
  const hash = createHash("sha256");
  for await (const rows of separateRows(kv)) {
    for (const [key, value] of rows) hash.update(`${key.length} ${value.length} `).update(key).update(value);
  }
  await kv.close();
  return { rows: hash.digest("hex"), committed };
}

function cutAtRandom(messages: readonly LogMessage[], random: () => number): LogMessage[][] {
  const runs: LogMessage[][] = [];
  for (let at = 0; at < messages.length;) {
    const length = 1 + Math.floor(random() ** 3 * 100);
    runs.push(messages.slice(at, at + length));
    at += length;
  }
  return runs;
}

/** Expects the same rows of every way to apply a seed's log. Returns the number of committed transactions. */
async function expectSameRows(seed: number): Promise<number> {
  const messages = foreignLog(seed, MESSAGES);
  const whole = await rowsAfter([messages]);
  expect([seed, await rowsAfter(messages.map((message) => [message]))]).toEqual([seed, whole]);
  expect([seed, await rowsAfter(cutAtRandom(messages, seededRandom(-seed)))]).toEqual([seed, whole]);
  return whole.committed;
}

const PROMISE =
  "foreign messages result in the same rows whether they are applied individually, in one batch or in any batches";

it(`${PROMISE} (seed ${SAMPLE})`, async () => {
  expect(await expectSameRows(SAMPLE)).toBeGreaterThan(0);
});

it(`${PROMISE}, in ${SEEDS} seeds`, { tags: "rest/campaign", timeout: 180_000 + SEEDS * 2_000 }, async () => {
  let committed = 0;
  for (let seed = FIRST; seed < FIRST + SEEDS; seed += 1) committed += await expectSameRows(seed);
  // If all messages had been refused, nothing would have been tested.
  expect(committed).toBeGreaterThan(SEEDS * MESSAGES * 0.1);
});
