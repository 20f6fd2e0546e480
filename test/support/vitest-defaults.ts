import { expect, vi } from "vitest";

/**
 * The default timeout (ms) of `vi.waitFor`, equal to that of `expect.poll` in vitest.config.ts. Vitest's default of one second is shorter
 * than a flush on a busy disk, and a condition that is never met fails either way.
 */
const WAIT_TIMEOUT_MS = 60_000;

const waitFor = vi.waitFor;
vi.waitFor = (condition, options) =>
  waitFor(condition, typeof options === "number" ? options : { timeout: WAIT_TIMEOUT_MS, ...options });

// Without this, `toMatchObject` accepts anything in the place of a pattern.
expect.addEqualityTesters([
  (actual: unknown, expected: unknown) =>
    expected instanceof RegExp && typeof actual === "string" ? expected.test(actual) : undefined,
]);
