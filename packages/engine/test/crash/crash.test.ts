import { commitSeed } from "@cairn/kv/testing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { observeBatches } from "./crash-machine.ts";
import { crashedOnce, type CrashTally } from "./crash-round.ts";

/** The number of seeds. `pnpm soak` runs more. */
const SEEDS = Number(process.env["CAIRN_SOAK_ROUNDS"] ?? 60);
const FIRST = Number(process.env["CAIRN_SOAK_SEED"] ?? 1);
/** The number of seeds that run concurrently. Each waits for the disk much of the time. */
const AT_ONCE = 3;
/** The seeds that run with every commit. */
const SAMPLE = [commitSeed(), commitSeed() + 1];

describe("a node whose power fails between its log and its index", () => {
  const tally: CrashTally = new Map();
  let stopObserving: () => void;
  beforeAll(() => {
    stopObserving = observeBatches();
  });
  afterAll(() => {
    stopObserving();
    const lines = [...tally].toSorted().map(([what, times]) => `${String(times).padStart(6)} ${what}`);
    lines.push(`${String(SEEDS).padStart(6)} seeds from ${FIRST}`);
    if (process.env["CAIRN_SOAK_ROUNDS"] !== undefined) process.stdout.write(`${lines.join("\n")}\n`);
  });

  it.each(SAMPLE)(
    "has everything that it acknowledged, once and with the same outcome, and nothing that its log lacks (seed %i)",
    async (seed) => {
      expect(await crashedOnce(seed, new Map())).toBeUndefined();
    },
  );

  it(
    `has everything that it acknowledged, once and with the same outcome, and nothing that its log lacks, in ${SEEDS} seeds`,
    { tags: "rest/campaign", timeout: 180_000 + SEEDS * 5_000 },
    async () => {
      const failures: string[] = [];
      const seeds = Array.from({ length: SEEDS }, (_, n) => FIRST + n);
      const work = async (): Promise<void> => {
        for (let seed = seeds.shift(); seed !== undefined; seed = seeds.shift()) {
          const failure = await crashedOnce(seed, tally);
          if (failure !== undefined) failures.push(failure);
        }
      };
      await Promise.all(Array.from({ length: AT_ONCE }, work));
      expect(failures).toEqual([]);
    },
  );
});
