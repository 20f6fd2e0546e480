import { CairnError } from "@cairn/kv";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { emptyState } from "@cairn/engine/src/index/rows/index-state";
import { evictionPlaces } from "@cairn/engine/src/node/node-evictions";
import type { LogBounds, TxLog } from "@cairn/engine";

const birth = { log: "log-1", offset: 100 };
const state = emptyState({ id: "log-1", name: "cairn", bounds: { first: 1, last: 9 }, birth });
const page = {
  evictions: [
    {
      txId: 107,
      txTime: "2026-11-20T06:00:00.000Z",
      bucket: "pods",
      namespace: "default",
      name: "a",
      notBefore: 1,
      files: { goneSince: null, waitsFor: "compaction" as const },
    },
  ],
};

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** Returns the part of the log that may still have the content that was evicted at 107. */
async function told(bounds: () => Promise<LogBounds>): Promise<unknown> {
  const [places] = await Promise.all([
    evictionPlaces(page, state, { bounds } as TxLog, { checkpointer: undefined }),
    vi.advanceTimersByTimeAsync(2_000),
  ]);
  return places.evictions[0]?.log;
}

it("a node lists the log's transactions that may still have the evicted content, and none once they are trimmed", async () => {
  expect(await told(() => Promise.resolve({ first: 3, last: 9 }))).toEqual({ firstTxId: 103, lastTxId: 106 });
  expect(await told(() => Promise.resolve({ first: 7, last: 9 }))).toBeNull();
});

it("a node assumes that a log which is unreachable or does not respond within two seconds still has everything", async () => {
  const all = { firstTxId: 101, lastTxId: 106 };
  expect(await told(() => Promise.reject(new CairnError("LOG_UNREACHABLE", "Away.")))).toEqual(all);
  expect(await told(() => new Promise(() => {}))).toEqual(all);
  expect(
    (await evictionPlaces(page, state, undefined, { checkpointer: undefined })).evictions[0]?.log,
  ).toEqual(all);
});

it("a node throws any other error of the log", async () => {
  await expect(told(() => Promise.reject(new CairnError("LOG_GAP", "A hole.")))).rejects.toMatchObject({
    code: "LOG_GAP",
  });
});
