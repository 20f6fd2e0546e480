import { systemClock } from "@cairn/kv";
import { onTestFinished, vi } from "vitest";

/** Shorter waits are not changed, because tests choose them. */
const LONG_MS = 300;
const FACTOR = 20;

/**
 * Shortens the pauses of nodes and commands between attempts, and between looks at what may have changed, until the end
 * of the test. The time that they measure and the limits that they observe stay the same.
 */
export function hurryClock(): void {
  const { wait } = systemClock;
  const hurried = vi.spyOn(systemClock, "wait");
  hurried.mockImplementation((ms, signal) => wait(ms < LONG_MS ? ms : ms / FACTOR, signal));
  onTestFinished(() => hurried.mockRestore());
}
