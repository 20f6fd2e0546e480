// @module-tag rest/campaign
// @module-tag nats
import { it, expect } from "vitest";
import { live } from "./life.ts";

/** Seeds whose lives are short, and lose something. */
const SEEDS = [1];
const STEPS = 6;

it.each(SEEDS)("a cluster keeps every acknowledged transaction through the life of seed %i", async (seed) => {
  const { violations } = await live({ seed, steps: STEPS });
  expect(violations).toEqual([]);
});
