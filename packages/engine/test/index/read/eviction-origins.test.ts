import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { memoryProvider } from "@cairn/kv";
import { expect, it, onTestFinished } from "vitest";
import { earliestWrites } from "../../../src/index/read/eviction-reads.ts";
import { transactionRowKey } from "../../../src/index/rows/row-keys.ts";
import { encodeOutcome, type OutcomeKind } from "../../../src/index/rows/row-values.ts";
import { MARK_BYTES } from "../../../src/index/rows/chain-rows.ts";

type Row = readonly [txId: number, ops: readonly (readonly (string | number)[])[], kind?: OutcomeKind];

async function reader(rows: readonly Row[]) {
  const folder = await mkdtemp(path.join(tmpdir(), "cairn-origins-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const kv = await memoryProvider().open(path.join(folder, "kv"));
  onTestFinished(() => kv.close());
  await kv.batch(
    rows.map(([txId, ops, kind = "committed"]) => {
      const text = kind === "committed" ? (txId === 1 ? "" : JSON.stringify({ ops })) : "CONFLICT: no";
      const key = transactionRowKey(txId);
      return {
        type: "put",
        key,
        value: encodeOutcome(key, { time: 0, mark: Buffer.alloc(MARK_BYTES) }, kind, Buffer.from(text)),
      };
    }),
  );
  return kv;
}

const BIRTH: Row = [1, []];
const evicted = (txId: number, name = "a") => ({ bucket: "pods", namespace: "default", name, txId });
const entry = (txId: number, namespace: string) => ({ bucket: "jobs", namespace, name: "a", txId });

it("writes before an earlier eviction do not count for the next one", async () => {
  const kv = await reader([
    BIRTH,
    [2, [["put", "pods", "a"]]],
    [3, [["evict", "pods", "default/a"]]],
    [4, [["put", "nodes", "a"], ["event"]]],
    [5, [["put", "pods", "a"]], "aborted"],
    [6, [["put", "pods", "default/a"]]],
    [7, [["put", "pods", "a"]]],
    [8, [["evict", "pods", "a"]]],
  ]);
  expect(await earliestWrites(kv, [evicted(8), evicted(3)])).toEqual([6, 2]);
});

it("nothing is assumed about transactions after a missing one", async () => {
  const kv = await reader([
    BIRTH,
    [2, [["put", "nodes", "x"]]],
    [4, [["put", "pods", "a"]]],
    [5, [["evict", "pods", "a"]]],
  ]);
  expect(await earliestWrites(kv, [evicted(5)])).toEqual([3]);
  const headless = await reader([
    [3, [["put", "pods", "a"]]],
    [4, [["evict", "pods", "a"]]],
  ]);
  expect(await earliestWrites(headless, [evicted(4)])).toEqual([1]);
});

it("an entry of a queue may be as old as any key of its name, unlike another document", async () => {
  const kv = await reader([
    BIRTH,
    [2, [["put", "jobs", "0/a"]]],
    [3, [["move", "jobs", "0/a", 1, 9]]],
    [4, [["move", "jobs", "1/a", 2, 9]]],
    [5, [["evict", "jobs", "2/a"]]],
    [6, [["put", "jobs", "0/a"]]],
    [7, [["put", "pods", "a"]]],
    [8, [["put", "pods", "other/a"]]],
    [9, [["evict", "pods", "other/a"]]],
    [10, [["evict", "pods", "a"]]],
    [11, [["move", "jobs", "0/a", 1, 9]]],
    [12, [["evict", "jobs", "0/a"]]],
  ]);
  const entries = [...["0", "1", "2"].map((one) => entry(5, one)), entry(12, "0"), entry(12, "1")];
  const documents = [{ ...evicted(9), namespace: "other" }, evicted(10)];
  expect(await earliestWrites(kv, [...entries, ...documents])).toEqual([2, 2, 2, 2, 2, 8, 7]);
  // Not all keys of an entry are in a page of evictions.
  expect(await earliestWrites(kv, [entry(12, "1")])).toEqual([2]);
});

it("what was moved after the scan may be as old as any key of its name", async () => {
  const kv = await reader([
    BIRTH,
    [2, [["put", "jobs", "0/a"]]],
    [4, [["move", "jobs", "0/a", 1, 9]]],
    [5, [["evict", "jobs", "1/a"]]],
  ]);
  expect(await earliestWrites(kv, [entry(5, "1")])).toEqual([2]);
});

it("only the beginning of a long history is scanned, and the result may be too early but never too late", async () => {
  const noise = Array.from({ length: 20_100 }, (_, index): Row => [index + 2, [["put", "nodes", "x"]]]);
  const kv = await reader([
    BIRTH,
    ...noise,
    [20_102, [["put", "pods", "a"]]],
    [20_103, [["evict", "pods", "a"]]],
  ]);
  expect(await earliestWrites(kv, [evicted(20_103)])).toEqual([20_001]);
});
