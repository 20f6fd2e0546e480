import { memoryProvider } from "@cairn/kv";
import { commitSeed } from "@cairn/kv/testing";
import { expect, it } from "vitest";
import { compareChains, type Divergence } from "../../src/index/chains/compare-chains.ts";
import { emptyState } from "../../src/index/rows/index-state.ts";
import { IndexStore } from "../../src/index/index-store.ts";
import { judgeAnchor } from "../../src/log/anchor.ts";
import type { LogMessage } from "../../src/log/tx-log.ts";
import { PARTED_LOG_ID, partedHistories } from "./parted-histories.ts";
import { seededRandom } from "@cairn/test-support/nodes/seeded-log";

const SEEDS = Number(process.env["CAIRN_SOAK_ROUNDS"] ?? 60);
const FIRST = Number(process.env["CAIRN_SOAK_SEED"] ?? 1);
const SPAN = 1_024;
/** The first of the seeds that run with every commit. */
const SAMPLE = commitSeed();

const birth = { log: PARTED_LOG_ID, offset: 0 };
const empty = emptyState({ id: PARTED_LOG_ID, name: "cairn", bounds: { first: 1, last: 1 }, birth });

async function indexOf(messages: readonly LogMessage[]): Promise<IndexStore> {
  const index = await IndexStore.open(await memoryProvider().open("/nonexistent/in-memory"), empty);
  await index.apply(messages);
  return index;
}

async function compared(own: IndexStore, other: IndexStore): Promise<Divergence | undefined> {
  return await compareChains(async (txId) => await own.chainsAt(txId), await other.chains(), "effects");
}

/**
 * Returns the last transaction at which the index that is ahead can compare itself with the other one: the end of the
 * other index, or the link before it.
 */
function comparableUpTo(one: number, other: number): number {
  const [behind, ahead] = [Math.min(one, other), Math.max(one, other)];
  const known = ahead - (ahead % SPAN) - 2 * SPAN;
  return behind > known ? behind : behind - (behind % SPAN);
}

/** Compares two histories of a seed. Returns the way in which they diverge if the chains have found it. */
async function expectDistinguished(seed: number): Promise<string | undefined> {
  const { way, left, right, partAt } = partedHistories(seed);
  const random = seededRandom(-seed);
  const cut = (history: readonly LogMessage[]): readonly LogMessage[] =>
    history.slice(0, random() < 0.5 ? history.length : 1 + Math.floor(random() * history.length));
  const [here, there] = [cut(left), cut(right)];
  const [own, other] = [await indexOf(here), await indexOf(there)];
  const comparable = comparableUpTo(here.length, there.length);
  const isParted = partAt !== undefined && partAt <= comparable;
  const [ahead, behind] = here.length >= there.length ? [own, other] : [other, own];
  const divergence = await compared(ahead, behind);
  expect([seed, way, divergence?.kind]).toEqual([seed, way, isParted ? "history" : undefined]);
  if (divergence !== undefined && partAt !== undefined) {
    expect(divergence.agreeAt).toBeLessThan(partAt);
    expect(divergence.differAt).toBeGreaterThanOrEqual(partAt);
  }
  // The index that is behind knows only the links that the other reports, and must find no difference if there is none.
  const reverse = await compared(behind, ahead);
  if (reverse !== undefined) expect([seed, way, isParted]).toEqual([seed, way, true]);
  expectAnchorJudged({ seed, way, own, here, right });
  return divergence === undefined ? undefined : way;
}

const PROMISE =
  "chains distinguish two histories of one log wherever they diverge, and find no difference in equal ones";

it(`${PROMISE} (seeds ${SAMPLE} to ${SAMPLE + 9})`, async () => {
  for (let seed = SAMPLE; seed < SAMPLE + 10; seed += 1) await expectDistinguished(seed);
});

it(`${PROMISE}, in ${SEEDS} seeds`, { tags: "rest/campaign", timeout: 180_000 + SEEDS * 1_000 }, async () => {
  const found: Record<string, number> = {};
  for (let seed = FIRST; seed < FIRST + SEEDS; seed += 1) {
    const way = await expectDistinguished(seed);
    if (way !== undefined) found[way] = (found[way] ?? 0) + 1;
  }
  process.stdout.write(`forks: ${SEEDS} seeds from ${FIRST}: ${JSON.stringify(found)}\n`);
});

/**
 * Expects the index's last message to decide whether the other log continues it: another message there is never
 * mistaken for it.
 */
function expectAnchorJudged({
  seed,
  way,
  own,
  here,
  right,
}: {
  readonly seed: number;
  readonly way: string;
  readonly own: IndexStore;
  readonly here: readonly LogMessage[];
  readonly right: readonly LogMessage[];
}): void {
  const last = here.at(-1);
  const [there] = right.slice(here.length - 1, here.length);
  if (last === undefined) throw new Error("a log begins with its birth record");
  const problem = judgeAnchor(
    "cairn",
    { position: here.length, sha256: own.state.sha256 },
    { first: 1, last: right.length },
    there,
  );
  const isSame =
    there !== undefined &&
    last.time === there.time &&
    last.nanoseconds === there.nanoseconds &&
    Buffer.compare(last.payload, there.payload) === 0;
  expect([seed, way, problem?.code]).toEqual([seed, way, isSame ? undefined : "LOG_REGRESSED"]);
}
