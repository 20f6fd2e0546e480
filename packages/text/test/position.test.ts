import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parsePosition, POSITION_PATTERN, formatPosition } from "../src/position.ts";

const PATTERN = new RegExp(POSITION_PATTERN);
const hexMark = fc
  .uint8Array({ minLength: 6, maxLength: 6 })
  .map((bytes) => Buffer.from(bytes).toString("hex"));

describe("a position", () => {
  it("is parsed to the transaction and the mark of which it was made, and is safe in a URL", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 999_999_999_999_999 }), hexMark, (txId, mark) => {
        const position = formatPosition({ txId, mark });
        expect(parsePosition(position, "from")).toEqual({ txId, mark });
        expect([encodeURIComponent(position), PATTERN.test(position)]).toEqual([position, true]);
      }),
    );
  });

  it("before the first transaction is 0, whatever the mark", () => {
    expect(formatPosition({ txId: 0, mark: "ba9876543210" })).toBe("0");
    expect(parsePosition("0", "from").txId).toBe(0);
  });

  it("is nothing else, and any other text is either refused or the position that is made of its parts", () => {
    const near = fc.stringMatching(/^[0-9]{0,17}-?[0-9a-fA-F]{0,13}$/);
    fc.assert(
      fc.property(fc.oneof(near, fc.string()), (text) => {
        try {
          expect(formatPosition(parsePosition(text, "from"))).toBe(text);
        } catch (error) {
          expect(error).toMatchObject({
            code: "REQUEST_INVALID",
            message: /^from must be a position, not "/,
          });
        }
      }),
    );
  });

  it.each([
    "",
    "00",
    "-1",
    " 1",
    "0-9f86d081884c",
    "01-9f86d081884c",
    "1-9f86d081884",
    "1-9f86d081884c0",
    "1-9F86D081884C",
    "1000000000000000-9f86d081884c",
    "1-9f86d081884c\n",
  ])("is not %j", (text) => {
    expect(() => parsePosition(text, "from")).toThrow(/^from must be a position/);
  });

  it("is not a transaction's id, for which the hint names the command that prints the position", () => {
    const hint = /cairn tx show 17 prints the present one/;
    let refusal: unknown;
    try {
      parsePosition("17", "--from");
    } catch (error) {
      refusal = error;
    }
    expect(refusal).toMatchObject({ message: '--from must be a position, not "17".', hint });
  });
});
