import type { QueueStatus } from "@cairn/client";
import { shardToDrain } from "@cairn/client/protocol";
import { expect, it } from "vitest";

type Shown = readonly [
  entries: number,
  open: number,
  state?: "active" | "draining" | "retiring",
  director?: string,
];

/** When the leases end. */
const UNTIL = "2026-11-27T22:00:00.000Z";

/** Returns a queue with these shards and a cap of 100. */
function queue(shards: readonly Shown[], spare: number): QueueStatus {
  return {
    name: "jobs",
    policy: { shards: shards.length + spare, cap: 100, terminal: { state: ["done"] }, lease: "PT30S" },
    entries: 0,
    open: 0,
    spare,
    shards: shards.map(([entries, open, state = "active", as], shard) => ({
      shard,
      state,
      entries,
      open,
      epoch: null,
      holder: as === undefined ? null : { as, until: UNTIL },
    })),
  };
}

function drainedIn(status: QueueStatus, now: number, satisfied: ReadonlySet<string> = new Set()) {
  return shardToDrain(status, { drainAt: 0.5, now, satisfied })?.shard;
}

it.each<[what: string, shards: readonly Shown[], spare: number, drained: number | undefined]>([
  [
    "a full shard with a spare one",
    [
      [60, 0],
      [100, 50],
    ],
    1,
    1,
  ],
  ["not one of which too little is finished", [[100, 51]], 1, undefined],
  ["not one that is not full while another is spare", [[99, 0]], 1, undefined],
  [
    "the fullest of a queue that is half full",
    [
      [70, 1],
      [80, 1],
      [50, 0],
    ],
    1,
    1,
  ],
  [
    "none of a queue that is not half full",
    [
      [70, 1],
      [79, 1],
      [50, 0],
    ],
    1,
    undefined,
  ],
  [
    "none that is less than half full itself",
    [
      [99, 90],
      [49, 0],
    ],
    0,
    undefined,
  ],
  [
    "the emptiest of a director's shards while none is spare",
    [
      [30, 20, "active", "a"],
      [20, 20, "active", "a"],
      [10, 10, "active", "b"],
    ],
    0,
    1,
  ],
  [
    "not that before the directors have their shares",
    [
      [30, 20, "active", "a"],
      [20, 20, "active", "a"],
      [20, 20, "active", "a"],
      [0, 0, "active", "b"],
    ],
    0,
    undefined,
  ],
  [
    "not that while a shard has no director",
    [
      [30, 20, "active", "a"],
      [20, 20, "active", "a"],
      [0, 0],
    ],
    0,
    undefined,
  ],
  [
    "not that while a shard is spare",
    [
      [30, 20, "active", "a"],
      [20, 20, "active", "a"],
    ],
    1,
    undefined,
  ],
  [
    "not that while another will be spare",
    [
      [30, 20, "active", "a"],
      [20, 20, "active", "a"],
      [0, 0, "retiring"],
    ],
    0,
    undefined,
  ],
  [
    "not that if the others would soon be full",
    [
      [40, 40, "active", "a"],
      [20, 20, "active", "a"],
      [41, 20, "active", "b"],
    ],
    0,
    undefined,
  ],
  ["not the only shard before it is full", [[99, 0]], 0, undefined],
  ["the only shard once it is full and nothing is open", [[100, 0]], 0, 0],
  ["not the only shard while anything is open", [[100, 1]], 0, undefined],
  [
    "one without open entries if all are full",
    [
      [100, 3],
      [100, 0],
      [100, 7],
    ],
    0,
    1,
  ],
  [
    "none while another is draining",
    [
      [100, 0],
      [100, 0, "draining", "b"],
    ],
    1,
    undefined,
  ],
  [
    "one beside another whose drainer has left it",
    [
      [100, 0],
      [60, 40, "draining"],
    ],
    1,
    0,
  ],
  [
    "one while another is retiring",
    [
      [100, 0],
      [100, 0, "retiring"],
    ],
    1,
    0,
  ],
])("a director drains %s", (_what, shards, spare, drained) => {
  expect(drainedIn(queue(shards, spare), 0)).toBe(drained);
});

it("a director drains a shard beside another whose drainer has died once that one's lease has ended", () => {
  const status = queue(
    [
      [100, 0],
      [60, 40, "draining", "dead"],
    ],
    1,
  );
  const until = Date.parse(UNTIL);
  expect([until - 1, until].map((now) => drainedIn(status, now))).toEqual([undefined, 0]);
});

it("a director makes room for another one although one wants no more than its only shard", () => {
  const status = queue(
    ["l", "a", "a", "a"].map((as) => [10, 0, "active", as]),
    0,
  );
  expect(drainedIn(status, 0)).toBe(undefined);
  expect(drainedIn(status, 0, new Set(["l"]))).toBe(3);
});
