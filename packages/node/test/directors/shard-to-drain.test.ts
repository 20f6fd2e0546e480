import type { QueueStatus } from "@cairn/client";
import { shardToDrain } from "@cairn/client/protocol";
import { expect, it } from "vitest";

type Shown = readonly [entries: number, open: number, state?: "active" | "draining" | "retiring"];

/** Returns a queue with these shards and a cap of 100. */
function queue(shards: readonly Shown[], spare: number): QueueStatus {
  return {
    name: "jobs",
    policy: { shards: shards.length + spare, cap: 100, terminal: { state: ["done"] }, lease: "PT30S" },
    entries: 0,
    open: 0,
    spare,
    shards: shards.map(([entries, open, state = "active"], shard) => ({
      shard,
      state,
      entries,
      open,
      epoch: null,
      holder: null,
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
    "the fullest while none is spare",
    [
      [50, 1],
      [60, 1],
      [10, 0],
    ],
    0,
    1,
  ],
  [
    "none that is less than half full",
    [
      [49, 0],
      [10, 0],
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
