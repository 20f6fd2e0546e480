import { manualClock } from "@cairn/checkpoint/testing";
import { CairnError, type KvScrub, systemErrorOf, systemRefused } from "@cairn/kv";
import { expect, it, onTestFinished, vi } from "vitest";
import type { NodeEvent } from "../../src/observe/node-event.ts";
import { EventDispatcher } from "../../src/observe/event-dispatcher.ts";
import { scrubPause, startScrub } from "../../src/upkeep/scrub-index.ts";

const EVERY = 10_000_000;
const TOTAL = 1_000;

/** Returns a scrub of an index whose pass is `compare`, with a clock that does not advance, and its events. */
function scrubbing(compare: (options: KvScrub) => Promise<number>, every: number | undefined = EVERY) {
  const clock = manualClock();
  const told: NodeEvent[] = [];
  const suspected: unknown[] = [];
  const events = new EventDispatcher(() => undefined);
  events.listen((event) => told.push(event));
  const suspect = (error: unknown): void => void suspected.push(error);
  const work = startScrub({ index: { rows: { scrub: compare } }, every, events, suspect, clock });
  onTestFinished(() => work?.stop());
  /** Advances the clock to the end of the scrub's next wait. Returns the duration of the wait. */
  const wait = async (): Promise<number> => {
    await vi.waitFor(() => expect(clock.waits()).toHaveLength(1));
    const ms = (clock.waits()[0] ?? 0) - clock.now();
    clock.advance(ms);
    return ms;
  };
  return { told, suspected, wait, work };
}

/** Pauses four times, once for each piece. */
async function whole({ pause, signal }: KvScrub): Promise<number> {
  for (const done of [250, 500, 750, TOTAL]) await pause(done, TOTAL, signal);
  return TOTAL;
}

function refusal(errno: string): CairnError {
  const cause = Object.assign(new Error(`${errno}: read`), { code: errno });
  const system = systemErrorOf(cause);
  if (system === undefined) throw new Error(`${errno} is not in the table`);
  return systemRefused("The index", system, cause);
}

it("a scrub spreads a pass over the period, and then begins the next one", async () => {
  const { told, wait } = scrubbing(whole);
  expect(await wait()).toBe(0);
  for (let piece = 0; piece < 4; piece++) expect(await wait()).toBe(EVERY / 4);
  expect(await wait()).toBe(0);
  await vi.waitFor(() => expect(told).toHaveLength(3));
  expect(told[1]).toMatchObject({ work: "scrub", stage: "ended", outcome: "whole", bytes: TOTAL });
  expect(told[2]).toMatchObject({ work: "scrub", stage: "begun" });
});

it("a scrub waits for the period when there is nothing to compare", async () => {
  const { told, wait } = scrubbing(() => Promise.resolve(0));
  expect(await wait()).toBe(0);
  expect(await wait()).toBe(EVERY);
  expect(told[1]).toMatchObject({ outcome: "whole", bytes: 0 });
});

it("a scrub reports damage and errors of the system by their codes, and tries again", async () => {
  const damage = new CairnError("INDEX_CORRUPT", "A table is damaged.");
  const errors = [refusal("EIO"), refusal("EMFILE"), damage];
  const { told, suspected, wait } = scrubbing(() => Promise.reject(errors[suspected.length] ?? damage));
  expect(await wait()).toBe(0);
  expect(await wait()).toBe(600_000);
  expect(await wait()).toBe(600_000);
  await vi.waitFor(() => expect(suspected).toEqual(errors));
  const failed = told.filter(({ stage }) => stage === "failed");
  const codes = ["SYSTEM_REFUSED", "SYSTEM_REFUSED", "INDEX_CORRUPT"];
  expect(failed).toMatchObject(codes.map((code) => ({ work: "scrub", error: { code } })));
});

it("a scrub ends during a pause without reporting damage", async () => {
  const { told, suspected, wait, work } = scrubbing(async (options) => {
    await whole(options);
    options.signal.throwIfAborted();
    return TOTAL;
  });
  expect(await wait()).toBe(0);
  await vi.waitFor(() => expect(told).toHaveLength(1));
  await work?.stop();
  expect(told[1]).toMatchObject({ stage: "failed", error: { code: "NOT_READY" } });
  expect(suspected).toEqual([]);
});

it("a scrub is off if it has no period, or if the index is not on disk", () => {
  const parts = {
    events: new EventDispatcher(() => undefined),
    suspect() {},
  };
  expect(startScrub({ ...parts, index: { rows: { scrub: whole } }, every: undefined })).toBeUndefined();
  expect(startScrub({ ...parts, index: { rows: {} }, every: EVERY })).toBeUndefined();
});

it("a scrub reads at most 8 MiB per second, however short its period is and however late it runs", () => {
  const MIB = 1024 * 1024;
  const pass = { done: MIB, total: 100 * MIB, piece: MIB };
  expect(scrubPause({ ...pass, elapsedMs: 0, every: 1 })).toBe(1_000 / 8);
  expect(scrubPause({ ...pass, elapsedMs: 1e9, every: EVERY })).toBe(1_000 / 8);
  expect(scrubPause({ ...pass, elapsedMs: 10, every: EVERY })).toBe(EVERY / 100 - 10);
});
