import type { Position } from "@cairn/client";
import { seededRandom } from "@cairn/test-support/seeded-random";
import { transactionsBetween } from "@cairn/test-support/watch-oracle";
import { expect } from "vitest";
import { ClientFollower } from "./client-follower.ts";
import { randomTransactions } from "./random-writes.ts";
import { RestoredNode } from "./restored-node.ts";

const FOLLOWERS = 6;
const FILTERS = [{}, { bucket: "pods" }, { namespace: "prod" }];

/**
 * Stops or kills a node `times` times, and replaces its log with older copies, while programs follow it. Expects that
 * each of them received exactly the changes between its positions, in a history that contains both, was refused only by
 * a log that did not contain its position, and reaches the end of the last log.
 */
export async function resumeAtPositions(seed: number, times: number): Promise<void> {
  const random = seededRandom(seed);
  const pick = (count: number): number => Math.floor(random() * count);
  const node = await RestoredNode.open();
  try {
    await node.ready();
    const followers: ClientFollower[] = [];
    const kept: Position[] = ["0"];
    const keep = (position: Position): void => void (random() < 0.1 && kept.push(position));
    const stored = (): Position | undefined => (pick(6) === 0 ? undefined : kept[pick(kept.length)]);
    const log = (): number => node.lost.length;
    for (let n = 0; n < FOLLOWERS; n += 1) {
      const filter = FILTERS[n % FILTERS.length] ?? {};
      followers.push(new ClientFollower({ url: node.url, filter, random, keep, stored, log }));
    }
    for (let time = 0; time < times; time += 1) {
      for (let batch = 0; batch <= pick(3); batch += 1) await write(node, pick);
      await (pick(2) === 0 ? node.kill() : node.stop());
      if (time === 0 || pick(3) === 0) await node.copy();
      else if (pick(3) > 0) await node.restore(pick(node.copies));
      await node.start();
    }
    // Without more writes, the log may end before the positions of followers.
    if (pick(2) === 0) await write(node, pick);
    for (const follower of followers) follower.calm();
    await expectAtEnd(node, followers);
    await Promise.all(followers.map((follower) => follower.finish()));
    await node.kill();
    await expectExact(node, followers);
  } finally {
    await node.close();
  }
}

async function write({ url }: RestoredNode, pick: (count: number) => number): Promise<void> {
  const body = randomTransactions(pick)
    .map((line) => JSON.stringify(line))
    .join("\n");
  const headers = { "content-type": "application/x-ndjson" };
  const answer = await fetch(`${url}/api/v1/tx/batch?await=true`, { method: "POST", headers, body });
  expect([answer.status, await answer.text()]).toEqual([200, expect.any(String)]);
}

async function expectAtEnd({ url }: RestoredNode, followers: readonly ClientFollower[]): Promise<void> {
  const end = (await fetch(`${url}/api/v1/pods?limit=1&linearizable=true`)).headers.get("cairn-position");
  await expect
    .poll(() => followers.map(({ position }) => position), { timeout: 60_000, interval: 20 })
    .toEqual(followers.map(() => end));
}

async function expectExact(node: RestoredNode, followers: readonly ClientFollower[]): Promise<void> {
  const histories = [...node.lost, await node.history()];
  for (const [number, { segments }] of followers.entries()) {
    const filter = FILTERS[number % FILTERS.length] ?? {};
    for (const { begin, position, seen, refusedBy } of segments) {
      expect(seen).toEqual(transactionsBetween(histories, { begin, position }, filter));
      if (refusedBy === undefined) continue;
      // The log may have been replaced before the program handled the error.
      const logs = histories.slice(Math.max(0, refusedBy - 1), refusedBy + 1);
      expect(logs.every(({ positions }) => positions.has(position))).toBe(false);
    }
  }
}
