// @module-tag rest/campaign
// @module-tag nats
import { expect, it } from "vitest";
import { live } from "./life.ts";

/** Each step starts several processes, which takes long on a busy machine. */
const TIMEOUT_MS = 600_000;

/**
 * Lives that lose much in a few steps: a node with an embedded log to which older machines and logs are put back, and
 * two nodes on NATS with a log backup that go back before a transaction.
 */
const LIVES = [
  { seed: 12, steps: 4 },
  { seed: 26, steps: 3 },
];

it.each(LIVES)(
  "a cluster keeps what it acknowledged through $steps steps of the life $seed",
  { timeout: TIMEOUT_MS },
  async (life) => {
    const { violations } = await live(life);
    expect(violations).toEqual([]);
  },
);
