import type { QueueStatus } from "@cairn/client";
import { shardToDrain } from "@cairn/client/protocol";
import { expect, it } from "vitest";

type Shown = readonly [
  entries: number,
  open: number,
  state?: "active" | "draining" | "retiring",
  director?: string,
];

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
      holder: as === undefined ? null : { as, until: "2026-11-27T22:00:00.000Z" },
    })),
  };
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
      [100, 0, "draining"],
    ],
    1,
    undefined,
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
  expect(shardToDrain(queue(shards, spare), 0.5)).toBe(drained);
});
