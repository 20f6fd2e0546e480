import { commitSeed } from "@cairn/kv/testing";
import { expect, test } from "vitest";
import { temporaryDirectory } from "@cairn/test-support/stores/places";
import { roundThroughFaults, uploadThroughFaults } from "./support/s3-fault-seed.ts";
import type { SeedOutcome } from "./support/s3-fault-seed.ts";
import { s3FaultProxy } from "./support/s3-fault-proxy.ts";
import { s3Places } from "./support/s3-place.ts";

const SOAK = process.env["CAIRN_SOAK_ROUNDS"];
const SEEDS = Number(SOAK ?? 12);
const FIRST = Number(process.env["CAIRN_SOAK_SEED"] ?? 1);
const PER_SEED_MS = 20_000;
const AT_ONCE = 3;
const SAMPLE = commitSeed();

const place = s3Places({ conditions: false });

async function runSeed(seed: number, dir: string): Promise<SeedOutcome> {
  const here = place();
  const withConditions = here.s3.ignoresConditions && seed % 4 < 2;
  const proxy = await s3FaultProxy({ to: here.s3.endpoint, withConditions });
  const store = here.store({ endpoint: proxy.endpoint, requestTimeout: 1_000, partSize: 1, maxAttempts: 4 });
  try {
    return seed % 2 === 0
      ? await uploadThroughFaults(seed, store, proxy, here)
      : await roundThroughFaults(seed, store, proxy, here, `${dir}/${seed}`);
  } catch (error) {
    throw new Error(`seed ${seed} after ${proxy.happened.join(", ")}`, { cause: error });
  }
}

test(`with faults at random requests, an upload is complete or leaves nothing, and a restore returns the right bytes or an error with a code (seed ${SAMPLE})`, async () => {
  // An outcome that is not allowed is thrown.
  await runSeed(SAMPLE, await temporaryDirectory());
});

test(
  `with faults at random requests, each of ${SEEDS} uploads is complete or leaves nothing, and each restore returns the right bytes or an error with a code`,
  { tags: "rest/campaign", timeout: 180_000 + SEEDS * PER_SEED_MS },
  async () => {
    const dir = await temporaryDirectory();
    const waiting = Array.from({ length: SEEDS }, (_, at) => FIRST + at);
    const outcomes: SeedOutcome[] = [];
    const worker = async (): Promise<void> => {
      for (let seed = waiting.shift(); seed !== undefined; seed = waiting.shift())
        outcomes.push(await runSeed(seed, dir));
    };
    const workers = Array.from({ length: AT_ONCE }, worker);
    // After a failure, the other seeds complete, and leave nothing behind.
    await Promise.all(workers).finally(async () => {
      waiting.length = 0;
      await Promise.allSettled(workers);
    });
    const faults = outcomes.reduce((sum, outcome) => sum + outcome.faults, 0);
    if (SOAK !== undefined) process.stdout.write(`${summary(outcomes)}, ${faults} faults\n`);
    // A run without faults, or one in which everything failed, would prove nothing.
    expect(faults).toBeGreaterThan(SEEDS);
    expect(outcomes.filter(({ saved }) => saved === "ok").length).toBeGreaterThan(SEEDS / 4);
    expect(outcomes.filter(({ restored }) => restored === "ok").length).toBeGreaterThan(SEEDS / 4);
  },
);

function summary(outcomes: readonly SeedOutcome[]): string {
  const counts = new Map<string, number>();
  for (const { saved, restored } of outcomes) {
    for (const what of [`saved ${saved}`, `restored ${restored}`])
      counts.set(what, (counts.get(what) ?? 0) + 1);
  }
  return [...counts]
    .toSorted()
    .map(([what, count]) => `${what}: ${count}`)
    .join(", ");
}
