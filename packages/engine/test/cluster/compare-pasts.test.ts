import { expect, test } from "vitest";
import type { ChainValue, NodeStatus } from "@cairn/client";
import type { Peer } from "../../src/cluster/ask-cluster.ts";
import { comparePasts } from "../../src/cluster/cluster-view.ts";
import { emptyStatus } from "../../testing/index.ts";

function at(txId: number, history = "right", effects = "same"): ChainValue {
  return { txId, history, effects };
}

function peer(node: string, chains: readonly ChainValue[], parts: Partial<NodeStatus> = {}): Peer {
  const status = emptyStatus();
  return {
    instance: node,
    node,
    host: "h",
    pid: 1,
    startedAt: "2026-11-20T06:00:00.000Z",
    status: { ...status, phase: "ready", ...parts, index: { ...status.index, chains } },
  };
}

function compared(...peers: readonly Peer[]): [txId: number, nodes: string, differ: string | undefined] | [] {
  const past = comparePasts(peers);
  return past === undefined ? [] : [past.txId, [...past.pasts.keys()].join(""), past.differ];
}

test("histories are compared at the newest transaction of which the most nodes report the chains", () => {
  const a = peer("a", [at(2_100), at(2_048), at(1_024)]);
  expect(compared(a, peer("b", [at(2_100), at(2_048), at(1_024)]))).toEqual([2_100, "ab", undefined]);
  expect(compared(a, peer("b", [at(2_101), at(2_048), at(1_024)]))).toEqual([2_048, "ab", undefined]);
  expect(compared(a, peer("b", [at(2_047), at(1_024)]))).toEqual([1_024, "ab", undefined]);
});

test("a difference is found although a node that lags reports only older transactions", () => {
  const a = peer("a", [at(2_100), at(2_048)]);
  const wrong = peer("b", [at(2_100, "wrong"), at(2_048)]);
  expect(compared(a, wrong, peer("c", [at(2_099), at(2_048)]))).toEqual([2_100, "ab", "history"]);
  const different = peer("b", [at(2_100, "right", "other"), at(2_048)]);
  expect(compared(a, different, peer("c", [at(2_099), at(2_048)]))).toEqual([2_100, "ab", "effects"]);
});

test("nodes that report no common transaction, or do not follow the log, are not compared", () => {
  const a = peer("a", [at(7)]);
  expect(compared(a)).toEqual([]);
  expect(compared(a, peer("b", [at(8)]))).toEqual([]);
  expect(compared(a, peer("b", [at(7, "wrong")], { phase: "failed" }))).toEqual([]);
});
