import { vi } from "vitest";

/**
 * How long a test waits for a condition unless it says otherwise; as long as `expect.poll` in vitest.config.ts. The
 * runner's own second is shorter than one flush on a busy disk, and a condition that never comes fails either way.
 */
const PATIENCE_MS = 60_000;

const waitFor = vi.waitFor;
vi.waitFor = (condition, options) =>
  waitFor(condition, typeof options === "number" ? options : { timeout: PATIENCE_MS, ...options });
