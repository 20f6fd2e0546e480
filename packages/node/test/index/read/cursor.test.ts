import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  decodeListCursor,
  decodeRevisionCursor,
  encodeListCursor,
  encodeRevisionCursor,
} from "../../../src/index/read/cursor.ts";

describe("cursors", () => {
  it("decode to their original parts, and fit in a URL unescaped", () => {
    fc.assert(
      fc.property(fc.nat(), fc.uint8Array(), (txId, after) => {
        const cursor = encodeListCursor({ txId, after });
        expect(encodeURIComponent(cursor)).toBe(cursor);
        const decoded = decodeListCursor(cursor);
        expect(decoded.txId).toBe(txId);
        expect(Buffer.compare(decoded.after, after)).toBe(0);
        expect(decodeRevisionCursor(encodeRevisionCursor(txId))).toBe(txId);
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
    expect(() => decodeListCursor(text)).toThrow(expect.objectContaining({ code: "REQUEST_INVALID" }));
  });

  it("of another kind are refused", () => {
    expect(() => decodeListCursor(encodeRevisionCursor(3))).toThrow("not returned by a list");
    expect(() => decodeRevisionCursor(Buffer.from('["3"]').toString("base64url"))).toThrow("not returned by");
  });
});
