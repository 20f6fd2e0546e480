import { memoryProvider } from "@cairn/kv";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { encodeState, INDEX_VERSION, readState, emptyState } from "../../../src/index/rows/index-state.ts";
import { sealed, unsealed } from "../../../src/index/rows/row-checksum.ts";
import {
  counterRowKey,
  STATE_ROW_KEY,
  submissionRowKey,
  transactionRowKey,
} from "../../../src/index/rows/row-keys.ts";
import {
  decodeCounters,
  decodeNumber,
  decodeOutcome,
  decodeSubmission,
  encodeCounters,
  encodeNumber,
  encodeOutcome,
  encodeSubmission,
  outcomeOperations,
} from "../../../src/index/rows/row-values.ts";
import { flipped } from "./flipped.ts";
import { MARK_BYTES, NO_MARK } from "../../../src/index/rows/chain-rows.ts";

const CORRUPT = expect.objectContaining({ code: "INDEX_CORRUPT" }) as unknown;
const ids = fc.maxSafeNat();
const bytes = fc.uint8Array({ maxLength: 40 });

describe("a row with a checksum", () => {
  it("returns the sealed content, whatever its size", { tags: "rest/slow" }, () => {
    fc.assert(
      fc.property(bytes, bytes, (key, content) => {
        expect(unsealed(key, sealed(key, content))).toEqual(Buffer.from(content));
      }),
    );
    const key = transactionRowKey(7);
    for (const length of [65_500, 65_536, 200_000])
      expect(unsealed(key, sealed(key, Buffer.alloc(length, 0xfe)))).toEqual(Buffer.alloc(length, 0xfe));
  });

  it("is reported as INDEX_CORRUPT when any bit of its key or value is flipped, or its value is truncated", () => {
    const rows = fc.oneof(
      fc.tuple(ids, ids, fc.string()).map(([txId, time, text]) => {
        const key = transactionRowKey(txId);
        return {
          key,
          value: encodeOutcome(
            key,
            { time, mark: Buffer.alloc(MARK_BYTES, 7) },
            "committed",
            Buffer.from(text),
          ),
          decode: decodeOutcome,
        };
      }),
      fc.tuple(fc.string(), ids).map(([id, txId]) => {
        const key = submissionRowKey(id);
        return { key, value: encodeSubmission(key, txId, Buffer.alloc(32, 7)), decode: decodeSubmission };
      }),
      fc.tuple(ids, ids, fc.constantFrom(0, 9)).map(([documents, tombstones, floor]) => {
        const key = counterRowKey("pods");
        const value = encodeCounters(key, { documents, tombstones, floor, gone: floor });
        return { key, value, decode: decodeCounters };
      }),
      fc.tuple(bytes, ids).map(([key, number]) => {
        return { key, value: encodeNumber(key, number), decode: decodeNumber };
      }),
    );
    fc.assert(
      fc.property(rows, ({ key, value, decode }) => {
        expect(() => decode(key, value)).not.toThrow();
        for (const damaged of flipped(value)) expect(() => decode(key, damaged)).toThrow(CORRUPT);
        for (const damaged of flipped(key)) expect(() => decode(damaged, value)).toThrow(CORRUPT);
        for (let length = 0; length < value.length; length++)
          expect(() => decode(key, value.subarray(0, length))).toThrow(CORRUPT);
      }),
      { numRuns: 50 },
    );
  });
});

async function readAs(value: Uint8Array) {
  const kv = await memoryProvider().open("/nonexistent/in-memory");
  try {
    await kv.batch([{ type: "put", key: STATE_ROW_KEY, value }]);
    return await readState(kv);
  } finally {
    await kv.close();
  }
}

describe("the operations of an outcome", () => {
  it("are the puts and deletes that moves amounted to, even if the message escapes the name of a move", () => {
    for (const name of ["move", "m\\u006fve"]) {
      const text = `{"ops":[["${name}","jobs","0/a",1,5]]}`;
      expect(
        outcomeOperations({ kind: "committed", time: 1, mark: NO_MARK, text, shards: undefined }),
      ).toEqual([
        ["delete", "jobs", "0/a"],
        ["put", "jobs", "1/a", { from: "0/a" }],
      ]);
    }
  });
});

describe("the state row", () => {
  const state = emptyState({
    id: "log-1",
    name: "cairn",
    bounds: { first: 1, last: 1 },
    birth: { log: "log-1", offset: 0 },
  });

  it(
    "contains the written values, and is reported as INDEX_CORRUPT when any of its bits is flipped",
    { tags: "rest/slow" },
    async () => {
      const value = encodeState(state);
      expect(await readAs(value)).toEqual(state);
      for (const damaged of flipped(value)) await expect(readAs(damaged)).rejects.toThrow(CORRUPT);
    },
  );

  it("is recognized as the row of another version", async () => {
    const other = expect.objectContaining({ code: "INDEX_VERSION" }) as unknown;
    await expect(readAs(encodeState({ ...state, version: INDEX_VERSION + 1 }))).rejects.toThrow(other);
  });

  it("is INDEX_CORRUPT without a checksum", async () => {
    await expect(readAs(Buffer.from(JSON.stringify(state)))).rejects.toThrow(CORRUPT);
  });
});
