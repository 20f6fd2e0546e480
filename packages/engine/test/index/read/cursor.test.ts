import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  evictionsCursor,
  historyCursor,
  listCursor,
  openEntriesCursor,
} from "../../../src/index/read/cursor.ts";
import type { ListSelection } from "../../../src/index/read/field-query.ts";

const LIST = { bucket: "pods", namespace: "default", prefix: "web-" };
const KEY = { bucket: "pods", namespace: "default", name: "web-0" };
const MARK = "ba9876543210";
const PLACE = { txId: 3, mark: MARK };
const REFUSED: unknown = expect.objectContaining({ code: "REQUEST_INVALID" });

describe("cursors", () => {
  it("decode to their original parts, and fit in a URL unescaped", () => {
    fc.assert(
      fc.property(fc.nat(), fc.uint8Array(), (txId, key) => {
        const after = Buffer.from(key).toString("hex");
        const cursor = listCursor.encode(LIST, { txId, after, mark: MARK });
        expect(encodeURIComponent(cursor)).toBe(cursor);
        expect(listCursor.decode(LIST, cursor)).toEqual({ txId, after, mark: MARK });
        expect(historyCursor.decode(KEY, historyCursor.encode(KEY, { txId, mark: MARK }))).toEqual({
          txId,
          mark: MARK,
        });
        const point = { txId, mark: MARK, before: after };
        expect(evictionsCursor.decode({}, evictionsCursor.encode({}, point))).toEqual(point);
      }),
    );
  });

  it.each([
    "",
    "x",
    "e30",
    Buffer.from("[1]").toString("base64url"),
    Buffer.from('[-1,"eA"]').toString("base64url"),
  ])("such as %j are refused, since no list returned them", (text) => {
    for (const decode of [
      () => listCursor.decode(LIST, text),
      () => historyCursor.decode(KEY, text),
      () => openEntriesCursor.decode({ queue: "jobs", shard: 0 }, text),
      () => evictionsCursor.decode({}, text),
    ]) {
      expect(decode).toThrow(REFUSED);
    }
  });

  it.each<ListSelection>([
    { ...LIST, bucket: "others" },
    { bucket: "pods", prefix: "web-" },
    { ...LIST, prefix: "web" },
    { ...LIST, from: "web-0" },
    { ...LIST, to: "web-0" },
    { ...LIST, where: { field: "state", value: "on" } },
    { ...LIST, asOf: { txId: 3 } },
  ])("of another list than %j are refused", (other) => {
    const cursor = listCursor.encode(LIST, { ...PLACE, after: "00" });
    expect(() => listCursor.decode(other, cursor)).toThrow("is not one of this list");
  });

  it("of a range of keys are those of no other range", () => {
    const cursor = listCursor.encode({ ...LIST, from: "a", to: "b" }, { ...PLACE, after: "00" });
    for (const other of [{ from: "a" }, { to: "b" }, { from: "a", to: "c" }, { from: "b", to: "a" }])
      expect(() => listCursor.decode({ ...LIST, ...other }, cursor)).toThrow("is not one of this list");
  });

  it("of a list without a range of keys are those of 0.1.0", () => {
    const cursor = "WyJ2UXhKenUtcmx4TE0iLHsidHhJZCI6MywibWFyayI6ImJhOTg3NjU0MzIxMCIsImFmdGVyIjoiMDAifV0";
    expect(listCursor.encode(LIST, { ...PLACE, after: "00" })).toBe(cursor);
  });

  it("of another kind are refused", () => {
    const shard = { queue: "pods", shard: 3 };
    const origin = openEntriesCursor.encode(shard, { ...PLACE, at: 0 });
    const refused = "is not one of this list";
    expect(() => listCursor.decode(LIST, historyCursor.encode(KEY, PLACE))).toThrow(refused);
    expect(() => historyCursor.decode(KEY, origin)).toThrow(refused);
    expect(() => historyCursor.decode({ ...KEY, name: "web-1" }, historyCursor.encode(KEY, PLACE))).toThrow(
      refused,
    );
    expect(() => openEntriesCursor.decode({ ...shard, shard: 4 }, origin)).toThrow(refused);
    expect(() => evictionsCursor.decode({}, origin)).toThrow(refused);
  });
});
