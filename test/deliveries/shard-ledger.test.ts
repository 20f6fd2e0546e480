import { describe, expect, it } from "vitest";
import { type QueueOperation, ShardLedger } from "./shard-ledger.ts";

const LEASE_MS = 100;
const OPEN = '{"state":"new"}';
const DELIVERED = '{"state":"delivered"}';

type Step = readonly [time: number, ops: readonly QueueOperation[], ...documents: string[]];

/** Alpha claims shard 0 with epoch 2, after `a` and `b` were enqueued into it. */
const BEFORE: readonly Step[] = [
  [
    0,
    [
      ["enqueue", "a"],
      ["enqueue", "b"],
    ],
    OPEN,
    OPEN,
  ],
  [0, [["claim", 0, { as: "alpha" }]]],
];

/** Applies transactions; the first one has the id 1. All entries are enqueued into shard 0. */
function ledgerOf(steps: readonly Step[]): ShardLedger {
  const ledger = new ShardLedger(LEASE_MS);
  for (const [at, [time, ops, ...documents]] of steps.entries())
    ledger.apply({ txId: at + 1, time, ops, documents, shards: documents.map(() => 0) });
  return ledger;
}

describe("a shard ledger", () => {
  it.each<[what: string, steps: readonly Step[]]>([
    [
      "a renewed lease, and an end within it",
      [
        [50, [["renew", 0, 2]]],
        [120, [["put", "0/a", { epoch: 2 }]], DELIVERED],
      ],
    ],
    [
      "an end after the lease, before anybody else claims the shard",
      [[500, [["put", "0/a", { epoch: 2 }]], DELIVERED]],
    ],
    ["a claim after the end of the lease", [[100, [["claim", 0, { as: "beta" }]]]]],
    [
      "a claim after a release",
      [
        [10, [["release", 0, 2]]],
        [10, [["claim", 0, { as: "beta" }]]],
      ],
    ],
    [
      "a drain by another program, which moves what is open",
      [
        [10, [["put", "0/a", { epoch: 2 }]], DELIVERED],
        [20, [["drain", 0, { as: "beta" }]]],
        [
          20,
          [
            ["move", "0/b", 1, 4],
            ["retire", 0, 4],
          ],
        ],
      ],
    ],
    [
      "a second drain after the end of the first one's lease",
      [
        [10, [["drain", 0, { as: "alpha" }]]],
        [110, [["drain", 1, { as: "beta" }]]],
      ],
    ],
  ])("permits %s", (_what, steps) => {
    expect(ledgerOf([...BEFORE, ...steps]).violations).toEqual([]);
  });

  it.each<[what: string, steps: readonly Step[], violation: string]>([
    [
      "a claim within the lease",
      [[99, [["claim", 0, { as: "beta" }]]]],
      "Transaction 3: claim of shard 0, while alpha held shard 0.",
    ],
    [
      "a claim within a lease that was renewed",
      [
        [50, [["renew", 0, 2]]],
        [149, [["claim", 0, { as: "beta" }]]],
      ],
      "Transaction 4: claim of shard 0, while alpha held shard 0.",
    ],
    [
      "an end with an epoch that was replaced",
      [
        [100, [["claim", 0, { as: "beta" }]]],
        [100, [["put", "0/a", { epoch: 2 }]], DELIVERED],
      ],
      "Transaction 4: put of a with epoch 2, while shard 0 had 3.",
    ],
    [
      "an end after the shard was released",
      [
        [10, [["release", 0, 2]]],
        [10, [["put", "0/a", { epoch: 2 }]], DELIVERED],
      ],
      "Transaction 4: put of a with epoch 2, while shard 0 had none.",
    ],
    [
      "a renewal with an epoch that was replaced",
      [
        [100, [["claim", 0, { as: "beta" }]]],
        [100, [["renew", 0, 2]]],
      ],
      "Transaction 4: renew with epoch 2, while shard 0 had 3.",
    ],
    [
      "an end without an epoch",
      [[10, [["put", "0/a"]], DELIVERED]],
      "Transaction 3: put of a without an epoch.",
    ],
    [
      "an end in another shard",
      [
        [10, [["claim", 1, { as: "alpha" }]]],
        [10, [["put", "1/a", { epoch: 3 }]], DELIVERED],
      ],
      "Transaction 4: put of a in shard 1, though it was in shard 0.",
    ],
    [
      "two drains at once",
      [
        [10, [["drain", 0, { as: "alpha" }]]],
        [109, [["drain", 1, { as: "beta" }]]],
      ],
      "Transaction 4: drain of shard 1, while alpha held shard 0.",
    ],
    ["a move without a drain", [[10, [["move", "0/a", 1, 2]]]], "Transaction 3: move of a without a drain."],
    [
      "a move of an entry that is elsewhere",
      [
        [10, [["drain", 0, { as: "alpha" }]]],
        [10, [["move", "0/c", 1, 3]]],
      ],
      "Transaction 4: move of c, which was not in shard 0.",
    ],
    [
      "the retirement of a shard with an open entry",
      [
        [10, [["drain", 0, { as: "alpha" }]]],
        [
          10,
          [
            ["move", "0/a", 1, 3],
            ["retire", 0, 3],
          ],
        ],
      ],
      "Transaction 4: retire of shard 0, in which b was open.",
    ],
  ])("reports %s", (_what, steps, violation) => {
    expect(ledgerOf([...BEFORE, ...steps]).violations).toEqual([violation]);
  });

  it("counts how often entries were finished, which are open, and the claims after the end of a lease", () => {
    const end: Step = [10, [["put", "0/a", { epoch: 2 }]], DELIVERED];
    const ledger = ledgerOf([...BEFORE, end, end, [200, [["claim", 0, { as: "beta" }]]]]);
    expect([...ledger.finished]).toEqual([["a", 2]]);
    expect(ledger.open).toEqual(["b"]);
    expect(ledger.counts.get("takeover")).toBe(1);
  });
});
