import type { QueueStatus } from "../../src/index.ts";
import { SatisfiedDirectors, shareOf } from "../../src/queues/shares.ts";
import { expect, it } from "vitest";

const FUTURE = new Date(Date.now() + 3_600_000).toISOString();
const PAST = new Date(0).toISOString();

/** Returns a queue whose active shards have these directors; undefined for none, and a minus for a lease that ended. */
function queue(directors: readonly (string | undefined)[], spare: number): QueueStatus {
  return {
    name: "jobs",
    policy: { shards: directors.length + spare, cap: 100, terminal: { state: ["done"] }, lease: "PT30S" },
    entries: 0,
    open: 0,
    spare,
    shards: directors.map((as, shard) => ({
      shard,
      state: "active",
      entries: 1,
      open: 1,
      epoch: null,
      holder: as === undefined ? null : { as: as.replace("-", ""), until: as.endsWith("-") ? PAST : FUTURE },
    })),
  };
}

const NONE: ReadonlySet<string> = new Set();

function shareIn(
  status: QueueStatus,
  as: string,
  options: { limit?: number; random?: number; satisfied?: ReadonlySet<string> } = {},
) {
  const mine = status.shards.filter(({ holder }) => holder?.as === as).map(({ shard }) => shard);
  const holder = {
    as,
    held: new Set(mine),
    limit: Infinity,
    satisfied: NONE,
    mayOpen: true,
    now: Date.now(),
    random: 0,
    ...options,
  };
  const { size, claims } = shareOf(status, holder);
  return { size, claims: claims.map(({ shard }) => shard) };
}

it("the shards are divided evenly among the directors, with the remainder for those that hold the most", () => {
  const status = queue(["c", "c", "c", "c", "a", "b", undefined], 1);
  expect(["a", "b", "c"].map((as) => shareIn(status, as).size)).toEqual([2, 2, 3]);
  const even = queue(["b", "a", undefined], 1);
  expect(["a", "b"].map((as) => shareIn(even, as).size)).toEqual([2, 1]);
});

it("a director claims as many shards as it holds, up to its share and its limit", () => {
  const free = Array.from({ length: 9 }, () => undefined);
  expect(shareIn(queue(free, 1), "a").claims).toEqual([0]);
  expect(shareIn(queue(["a", "a", ...free], 1), "a").claims).toEqual([2, 3]);
  expect(shareIn(queue(["a", "a", ...free], 1), "a", { limit: 3 }).claims).toEqual([2]);
  expect(shareIn(queue(["a", "a", "b", "b", undefined], 1), "a").claims).toEqual([4]);
  expect(shareIn(queue(["a", "a", "b", "b", undefined], 1), "b").claims).toEqual([]);
});

it("directors begin with different shards, and take over those whose lease has ended", () => {
  expect(
    shareIn(queue([undefined, undefined, undefined, undefined], 1), "a", { random: 0.6 }).claims,
  ).toEqual([2]);
  const holder = {
    as: "a",
    held: new Set<number>(),
    limit: 1,
    satisfied: NONE,
    mayOpen: true,
    now: Date.now(),
    random: 0,
  };
  const { size, claims } = shareOf(queue(["b-"], 1), holder);
  expect({ size, claims }).toEqual({
    size: 1,
    claims: [{ shard: 0, isTakenOver: true }],
  });
});

it("a director without a shard claims a spare one if it finds no other", () => {
  expect(shareIn(queue([undefined], 1), "a").claims).toEqual([0]);
  expect(shareIn(queue(["b", "b"], 1), "a")).toEqual({ size: 1, claims: [2] });
  expect(shareIn(queue(["b", "a"], 1), "a").claims).toEqual([]);
  expect(shareIn(queue(["b", "b"], 0), "a").claims).toEqual([]);
});

it("shards that a director leaves, because it wants no more, are divided among the others", () => {
  const status = queue(["l", "a", "a", "b", "b", undefined, undefined], 0);
  expect(["a", "b"].map((as) => shareIn(status, as).size)).toEqual([3, 2]);
  const satisfied = new Set(["l", "gone"]);
  expect(["a", "b"].map((as) => shareIn(status, as, { satisfied }).size)).toEqual([3, 3]);
});

it("a director that claims none of the shards that nobody holds, for a whole lease, wants no more", () => {
  const directors = new SatisfiedDirectors();
  const look = (atS: number, counts: Record<string, number>, hasUnclaimed = true): readonly string[] => {
    directors.note({ others: new Map(Object.entries(counts)), hasUnclaimed }, 1_000 * atS, 30_000);
    return [...directors.names];
  };
  expect(look(0, { l: 1, b: 1 })).toEqual([]);
  expect(look(29, { l: 1, b: 2 })).toEqual([]);
  expect(look(31, { l: 1, b: 2 })).toEqual(["l"]);
  // Others have claimed them meanwhile.
  expect(look(40, { l: 1, b: 3 }, false)).toEqual(["l"]);
  expect(look(90, { l: 1, b: 3 })).toEqual(["l"]);
  expect(look(91, { l: 1, b: 3 }, false)).toEqual(["l"]);
  expect(look(150, { l: 1, b: 3 })).toEqual(["l"]);
  expect(look(160, { l: 2, b: 3 })).toEqual([]);
  expect(look(185, { b: 3 })).toEqual(["b"]);
  expect(look(186, {}, false)).toEqual([]);
});
