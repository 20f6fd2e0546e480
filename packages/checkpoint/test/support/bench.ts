import { EventEmitter, once } from "node:events";
import { join } from "node:path";
import { expect, onTestFinished, vi } from "vitest";
import {
  type Checkpointer,
  type CheckpointerEvent,
  type CheckpointerOptions,
  type CheckpointStore,
  startCheckpointer,
} from "../../src/index.ts";
import type { CheckpointerParts } from "../../src/save/checkpointer.ts";
import {
  faultyStore,
  manualClock,
  type ManualClock,
  type StoreFaults,
  memoryStore,
} from "../../testing/index.ts";
import { temporaryDirectory } from "@cairn/test-support/stores/places";
import { testSource, type TestSource } from "@cairn/test-support/stores/test-source";

/** The period of a {@link Bench}. */
export const HOUR = 3_600_000;

/** A checkpointer over a store in memory, with a clock that the test controls. */
export interface Bench {
  readonly dir: string;
  readonly clock: ManualClock;
  readonly store: CheckpointStore;
  readonly source: TestSource;
  readonly events: CheckpointerEvent[];
  readonly checkpointer: Checkpointer;
  /** Advances the clock to the next look and waits until the look has ended. */
  look(): Promise<void>;
}

/** Starts a bench, which is stopped at the end of the test at the latest. */
export async function start(
  change: Partial<CheckpointerOptions> = {},
  faults: StoreFaults = {},
  onEvent: CheckpointerParts["onEvent"] = () => undefined,
  parts: Pick<CheckpointerParts, "archiving"> = {},
): Promise<Bench> {
  const dir = await temporaryDirectory();
  const clock = manualClock();
  const store = faultyStore(memoryStore({ now: clock.now }), faults);
  const source = testSource();
  const events: CheckpointerEvent[] = [];
  const checkpointer = startCheckpointer({
    ...parts,
    source,
    clock,
    random: () => 0.5,
    onEvent: (event) => {
      events.push(event);
      onEvent(event);
    },
    options: {
      store,
      approxFrequency: HOUR,
      checkpointDir: join(dir, "capture"),
      keepDirBetweenCheckpoints: true,
      keepDirOnClose: false,
      checkpointOnClose: false,
      compression: "none",
      ...change,
    },
  });
  onTestFinished(() => checkpointer.stop({ timeoutMs: 0 }));
  const ended = (): number =>
    events.filter(({ type }) => type === "failed" || type === "skipped" || type === "taken").length;
  return {
    dir,
    clock,
    store,
    source,
    events,
    checkpointer,
    async look() {
      const before = ended();
      clock.advance((checkpointer.status().nextCheckAt ?? 0) - clock.now());
      await vi.waitFor(() => expect(ended()).toBe(before + 1), { interval: 2 });
      await vi.waitFor(() => expect(checkpointer.status().nextCheckAt).not.toBeNull(), { interval: 2 });
    },
  };
}

/** Makes captures wait until the returned function is called. */
export function holdCapture(source: TestSource): () => void {
  const gate = new EventEmitter();
  source.beforeCapture = async () => void (await once(gate, "open"));
  return () => void gate.emit("open");
}

/** Returns the types of events. */
export function types(events: readonly CheckpointerEvent[]): string[] {
  return events.map(({ type }) => type);
}
