import { expect, it } from "vitest";
import { evictedRanges } from "../../../src/index/purge/eviction-purge.ts";
import { fieldKey, fieldRowKey, fieldValuePrefix } from "../../../src/index/rows/field-row-keys.ts";
import type { IndexState } from "../../../src/index/rows/index-state.ts";
import { documentRowKey, ROW, versionRowKey } from "../../../src/index/rows/row-keys.ts";

const state = {
  policies: {
    nextIndex: 5,
    indexes: [
      { id: 1, bucket: "vault", field: "one" },
      { id: 4, bucket: "other", field: "one" },
    ],
  },
} as unknown as IndexState;
const stemOf = (bucket: string, key: string): Buffer => documentRowKey(bucket, key).subarray(1);
const holds = (ranges: ReturnType<typeof evictedRanges>, key: Uint8Array): boolean =>
  ranges.some(({ gte, lt }) => Buffer.compare(gte, key) <= 0 && Buffer.compare(key, lt) < 0);
const NUL = String.fromCodePoint(0);

it.each(["default/s", `default/s${NUL}`, `team${NUL}/漢字`])(
  "the ranges contain the rows of %j and of nothing with a similar name",
  (key) => {
    const ranges = evictedRanges([stemOf("vault", key)], {} as IndexState);
    const row = documentRowKey("vault", key);
    expect(holds(ranges, row)).toBe(true);
    for (const revision of [1, 2, 2 ** 40]) expect(holds(ranges, versionRowKey(row, revision))).toBe(true);
    for (const other of [`${key}${NUL}`, `${key}0`, key.slice(0, -1), `a/${key.split("/")[1] ?? ""}`]) {
      const near = documentRowKey("vault", other);
      expect([other, holds(ranges, near), holds(ranges, versionRowKey(near, 7))]).toEqual([
        other,
        false,
        false,
      ]);
    }
    expect(holds(ranges, documentRowKey("vaults", key))).toBe(false);
  },
);

it("the ranges contain all rows of the bucket's indexed fields and of formerly indexed fields, but not of other buckets", () => {
  const ranges = evictedRanges([stemOf("vault", "default/s")], state);
  for (const kind of [ROW.field, ROW.fieldCount]) {
    const meant = [1, 2, 3, 4, 5].filter((id) => holds(ranges, fieldKey(kind, id, Buffer.from("value"))));
    expect(meant).toEqual([1, 2, 3]);
  }
});

it("the ranges match only the evicted document among removed rows of fields, whatever their values were", () => {
  const key = `default/s${NUL}t`;
  const ranges = evictedRanges([stemOf("vault", key)], state);
  const tells = (value: string, of: string): boolean => {
    const row = fieldRowKey(fieldValuePrefix(1, value), documentRowKey("vault", of), "vault");
    return ranges.some(
      ({ gte, lt, keys }) => Buffer.compare(gte, row) <= 0 && Buffer.compare(row, lt) < 0 && keys?.(row),
    );
  };
  for (const value of ["", "x", NUL, `a${NUL}${NUL}b`]) {
    expect(tells(value, key)).toBe(true);
    expect(tells(value, "default/other")).toBe(false);
    expect(tells(value, "team/s")).toBe(false);
  }
});
