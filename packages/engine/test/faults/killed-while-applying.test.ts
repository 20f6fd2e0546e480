import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { type KvReader, type KvStore, levelProvider, memoryProvider } from "@cairn/kv";
import { commitSeed } from "@cairn/kv/testing";
import { expect, it } from "vitest";
import { emptyState, readState } from "../../src/index/rows/index-state.ts";
import { IndexStore } from "../../src/index/index-store.ts";
import { LogFold } from "../../testing/log-fold.ts";
import { SEEDED_LOG_ID, seededMessageWithFields, seededRandom } from "@cairn/test-support/nodes/seeded-log";
import { separateRows } from "@cairn/test-support/nodes/separate-rows";

const CHILD = fileURLToPath(new URL("../../dist/test/faults/applying-child.js", import.meta.url));
/** The number of seeds. `pnpm soak` runs more. */
const SEEDS = Number(process.env["CAIRN_SOAK_ROUNDS"] ?? 30);
const AT_ONCE = 2;
/** The seed that runs with every commit. */
const SAMPLE = commitSeed();

const PROMISE =
  "the position and the rows of an index agree after SIGKILL while a process applies messages, builds fields, flushes or starts";

it(`${PROMISE} (seed ${SAMPLE})`, async () => {
  expect(await killedAgainAndAgain(SAMPLE)).toBeGreaterThan(0);
});

it(
  `${PROMISE}, in each of ${SEEDS} seeds`,
  { tags: "rest/campaign", timeout: 180_000 + SEEDS * 5_000 },
  async () => {
    const first = Number(process.env["CAIRN_SOAK_SEED"] ?? 1);
    const seeds = Array.from({ length: SEEDS }, (_, n) => first + n);
    const positions: number[] = [];
    const work = async (): Promise<void> => {
      for (let seed = seeds.shift(); seed !== undefined; seed = seeds.shift()) {
        positions.push(await killedAgainAndAgain(seed));
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
    expect(positions).toHaveLength(SEEDS);
    // Not all kills came before anything was applied.
    expect(positions.filter((position) => position > 100).length).toBeGreaterThan(SEEDS / 3);
  },
);

/**
 * Runs one or two processes, one after another, on the same index, and kills each of them. Returns the index's
 * position.
 */
async function killedAgainAndAgain(seed: number): Promise<number> {
  const dir = await mkdtemp(path.join(tmpdir(), "cairn-seed-"));
  try {
    const random = seededRandom(seed);
    let acknowledged = 0;
    for (let life = 0; life < 1 + (seed % 2); life += 1) {
      acknowledged = Math.max(acknowledged, await killedOnce(dir, seed, life, random()));
      // A killed process loses nothing that was reported as written; only a machine that fails can lose it.
      await expectWhole(dir, seed, acknowledged);
    }
    return acknowledged;
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

async function killedOnce(dir: string, seed: number, life: number, chance: number): Promise<number> {
  const child = spawn(process.execPath, [CHILD, dir, String(seed), String(life)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const exited = once(child, "exit");
  let last = 0;
  const lines = createInterface({ input: child.stdout });
  const ended = once(lines, "close");
  const begun = new Promise<void>((resolve) => {
    lines.on("line", (line) => {
      last = Number(line);
      resolve();
    });
  });
  await begun;
  await delay(chance * 250);
  child.kill("SIGKILL");
  expect(await exited).toEqual([null, "SIGKILL"]);
  await ended;
  return last;
}

/** Expects the index to hold exactly a prefix of the log: the digest of its fold, and the same rows as a fresh index. */
async function expectWhole(dir: string, seed: number, acknowledged: number): Promise<void> {
  const kv = await levelProvider().open(dir);
  try {
    const state = await readState(kv);
    if (state === undefined) throw new Error(`Seed ${seed}: the index is empty.`);
    const context = `seed ${seed} at ${state.txId}`;
    // The context is also compared, so that a failure names its seed.
    expect({ context, lost: Math.max(0, acknowledged - state.txId) }).toEqual({ context, lost: 0 });
    const messages = Array.from({ length: state.txId }, (_, n) => seededMessageWithFields(seed, n + 1));
    const fold = new LogFold();
    for (const message of messages) fold.apply(message);
    const index = await IndexStore.open(kv, state);
    const wanted = { context, txId: fold.txId, digest: fold.digest() };
    expect({ context, ...(await index.digest()) }).toEqual(wanted);

    // If its process was killed while fields were built, the index builds the rest, and ends with the same rows as one
    // whose process was never killed.
    while (await index.buildFields());
    const fresh = await freshIndex(seed, state.txId);
    await expectSameRows(kv, fresh, context);
    await fresh.close();
  } finally {
    await kv.close();
  }
}

async function freshIndex(seed: number, upTo: number): Promise<KvStore> {
  const kv = await memoryProvider().open("fresh");
  const empty = emptyState({
    id: SEEDED_LOG_ID,
    name: "seeded",
    bounds: { first: 1, last: 0 },
    birth: undefined,
  });
  const index = await IndexStore.open(kv, empty);
  await index.apply(Array.from({ length: upTo }, (_, n) => seededMessageWithFields(seed, n + 1)));
  while (await index.buildFields());
  return kv;
}

async function expectSameRows(found: KvReader, wanted: KvReader, context: string): Promise<void> {
  const [mine, theirs] = [await allRows(found), await allRows(wanted)];
  const different = mine.findIndex((row, at) => row !== theirs[at]);
  expect([context, mine.length, different]).toEqual([context, theirs.length, -1]);
}

async function allRows(reader: KvReader): Promise<string[]> {
  const all: string[] = [];
  for await (const some of separateRows(reader)) {
    for (const [key, value] of some) {
      all.push(`${Buffer.from(key).toString("hex")} ${Buffer.from(value).toString("hex")}`);
    }
  }
  return all;
}
