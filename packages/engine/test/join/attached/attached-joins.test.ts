import { commitSeed } from "@cairn/kv/testing";
import { soakRounds, soakTimeout } from "@cairn/test-support/soak-rounds";
import { expect, it } from "vitest";
import { type Joined, joinOnce, joinScene } from "./attached-join.ts";
import { JOIN_FAULTS } from "./join-faults.ts";

/** The number of joins. `pnpm soak` runs more. */
const ROUNDS = soakRounds(3 * JOIN_FAULTS.length);
const FIRST = Number(process.env["CAIRN_SOAK_SEED"] ?? 1);
/** The seed that runs with every commit. */
const SAMPLE = commitSeed();
const SAMPLE_ROUNDS = 4;

const PROMISE =
  "while a node joins, every stale read is answered as of one state, none older than one before it, whatever its store does";

it(`${PROMISE} (seed ${SAMPLE})`, { tags: "rest/slow" }, async () => {
  const joined = await joins(SAMPLE, SAMPLE_ROUNDS);
  expect(joined.filter(({ told }) => told.attached > 0)).not.toEqual([]);
});

it(
  `${PROMISE}, in ${ROUNDS} joins`,
  { tags: "rest/campaign", timeout: soakTimeout(ROUNDS, 10_000) },
  async () => {
    const joined = await joins(FIRST, ROUNDS);
    if (process.env["CAIRN_SOAK_ROUNDS"] !== undefined) process.stdout.write(`${tallied(joined)}\n`);
    const attached = joined.filter(({ told }) => told.attached > 0);
    const refused = attached.filter(({ isOlder, told }) => isOlder && told.lapsed > 0);
    expect(attached.length).toBeGreaterThan(ROUNDS / 2);
    // Nodes were attached to checkpoints that were then refused.
    expect(refused.length).toBeGreaterThan(ROUNDS / 6);
  },
);

/** Joins with consecutive seeds. */
async function joins(first: number, rounds: number): Promise<Joined[]> {
  const scene = await joinScene(first);
  const joined: Joined[] = [];
  for (let seed = first; seed < first + rounds; seed += 1) {
    const one = await joinOnce(scene, seed);
    expect(one.wrong).toEqual([]);
    // Nodes that could attach leave what others do.
    expect(one.left).toEqual(joined[0]?.left ?? one.left);
    joined.push(one);
  }
  return joined;
}

function tallied(joined: readonly Joined[]): string {
  const lines = JOIN_FAULTS.map(({ name }) => {
    const own = joined.filter(({ fault }) => fault.name === name);
    const sum = (count: (one: Joined) => number): number => own.reduce((all, one) => all + count(one), 0);
    const counts = [
      `${own.length} joins`,
      `${sum(({ told }) => Number(told.attached > 0))} attached`,
      `${sum(({ isOlder }) => Number(isOlder))} from an older checkpoint`,
      `${sum(({ told }) => told.answered)} answers`,
      `${sum(({ told }) => told.attached)} of them while attached`,
      `${sum(({ told }) => told.refused)} refusals`,
      `${sum(({ told }) => told.lapsed)} of them after an answer`,
    ];
    return `${name}: ${counts.join(", ")}`;
  });
  return lines.join("\n");
}
