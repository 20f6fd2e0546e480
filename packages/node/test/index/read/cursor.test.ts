import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  decodeEvictionCursor,
  decodeListCursor,
  decodeOriginCursor,
  decodeRevisionCursor,
  encodeEvictionCursor,
  encodeListCursor,
  encodeOriginCursor,
  encodeRevisionCursor,
  type ListParameters,
} from "../../../src/index/read/cursor.ts";

const LIST = { bucket: "pods", namespace: "default", prefix: "web-" };
const KEY = { bucket: "pods", namespace: "default", name: "web-0" };
const MARK = { chain: "0123456789ab", outcome: "ba9876543210" };
const REFUSED: unknown = expect.objectContaining({ code: "REQUEST_INVALID" });

describe("cursors", () => {
  it("decode to their original parts, and fit in a URL unescaped", () => {
    fc.assert(
      fc.property(fc.nat(), fc.uint8Array(), (txId, after) => {
        const cursor = encodeListCursor(LIST, { txId, after, mark: MARK });
        expect(encodeURIComponent(cursor)).toBe(cursor);
        const decoded = decodeListCursor(LIST, cursor);
        expect([decoded.txId, decoded.mark]).toEqual([txId, MARK]);
        expect(Buffer.compare(decoded.after, after)).toBe(0);
        expect(decodeRevisionCursor(KEY, encodeRevisionCursor(KEY, txId))).toBe(txId);
        expect(Buffer.compare(decodeEvictionCursor(encodeEvictionCursor(after)), after)).toBe(0);
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
      () => decodeListCursor(LIST, text),
      () => decodeRevisionCursor(KEY, text),
      () => decodeOriginCursor({ queue: "jobs", shard: 0 }, text),
      () => decodeEvictionCursor(text),
    ]) {
      expect(decode).toThrow(REFUSED);
    }
  });

  it.each<ListParameters>([
    { ...LIST, bucket: "others" },
    { ...LIST, namespace: undefined },
    { ...LIST, prefix: "web" },
    { ...LIST, where: { field: "state", value: "on" } },
    { ...LIST, asOf: { txId: 3 } },
  ])("of another list than %j are refused", (other) => {
    const cursor = encodeListCursor(LIST, { txId: 3, after: new Uint8Array(1), mark: MARK });
    expect(() => decodeListCursor(other, cursor)).toThrow("belongs to a different list");
  });

  it("of another kind are refused", () => {
    const shard = { queue: "pods", shard: 3 };
    const origin = encodeOriginCursor(shard, { txId: 3, at: 0 });
    const refused = "belongs to a different list";
    expect(() => decodeListCursor(LIST, encodeRevisionCursor(KEY, 3))).toThrow(refused);
    expect(() => decodeRevisionCursor(KEY, origin)).toThrow(refused);
    expect(() => decodeRevisionCursor({ ...KEY, name: "web-1" }, encodeRevisionCursor(KEY, 3))).toThrow(
      refused,
    );
    expect(() => decodeOriginCursor({ ...shard, shard: 4 }, origin)).toThrow(refused);
    expect(() => decodeEvictionCursor(origin)).toThrow(refused);
  });
});
