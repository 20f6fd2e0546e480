import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DiffTreeParser, MAX_MESSAGE_BYTES } from "../src/diff-tree-parser.ts";
import { HistoryError } from "../src/index.ts";
import { MAX_TOKEN_BYTES, NulSplitter } from "../src/nul-splitter.ts";

const OID = "a".repeat(40);
const ZERO = "0".repeat(40);

function header(message: string): string {
  return `${[OID, "b".repeat(40), "Ada", "a@b", "1 +0000", "Ben", "b@c", "2 +0100", message].join("\0")}\0`;
}

function parsed(stream: Buffer, chunk = stream.length): string[] {
  const found: string[] = [];
  const parser = new DiffTreeParser({
    commit: ({ oid, author, committer, message, messageCut }) =>
      found.push(`commit ${oid === OID} ${author.date} ${committer.email} ${messageCut} ${message}`),
    put: (path, mode, oid) => found.push(`put ${path.toString("latin1")} ${mode} ${oid === OID}`),
    remove: (path) => found.push(`remove ${path.toString("latin1")}`),
  });
  for (let at = 0; at < stream.length; at += chunk) parser.push(stream.subarray(at, at + chunk));
  parser.end();
  return found;
}

const RECORDS = [
  header(":100644 000000 a message\n\n"),
  `\n:000000 120000 ${ZERO} ${OID} A\0:100644 x\0`,
  `:100644 000000 ${OID} ${ZERO} D\0\nnewline\n\0`,
  header(""),
  header("last\n"),
  `\0:160000 100755 ${ZERO} ${OID} T\0\xff\0`,
];
const STREAM = Buffer.from(RECORDS.join(""), "latin1");
const FOUND = [
  "commit true 1 +0000 b@c false :100644 000000 a message",
  "put :100644 x 120000 true",
  "remove \nnewline\n",
  "commit true 1 +0000 b@c false ",
  "commit true 1 +0000 b@c false last",
  "put \xff 100755 true",
];

describe("DiffTreeParser", () => {
  it("distinguishes commits from changes, whatever messages and paths look like", () => {
    expect(parsed(STREAM)).toEqual(FOUND);
  });

  it.each([1, 2, 3, 7, 41])("finds the same commits and changes in chunks of %d bytes", (size) => {
    expect(parsed(STREAM, size)).toEqual(FOUND);
  });

  it("refuses a stream that ends anywhere but between records", () => {
    const ends = RECORDS.map((_, at) => RECORDS.slice(0, at + 1).join("").length);
    const accepted = [];
    for (let end = 1; end <= STREAM.length; end += 1) {
      try {
        parsed(STREAM.subarray(0, end));
        accepted.push(end);
      } catch (error) {
        expect(error).toBeInstanceOf(HistoryError);
      }
    }
    // A NUL that separates a message from its changes may also be the last byte of the stream.
    expect(accepted).toEqual(ends.flatMap((end, at) => (at === 4 ? [end, end + 1] : [end])));
  });

  it("refuses a change that it cannot parse", () => {
    expect(() => parsed(Buffer.from(`${header("x")}:100644\0a\0`))).toThrow(HistoryError);
  });

  it("keeps the beginning of an enormous message, without half a character", () => {
    const stream = Buffer.from(header(`x${"é".repeat(MAX_TOKEN_BYTES)}`));
    const [commit = ""] = parsed(stream, 65_536);
    expect(commit).toMatch(/ true xé+$/);
    expect(Buffer.byteLength(commit)).toBeLessThan(MAX_MESSAGE_BYTES + 100);
  });

  it("refuses a path of more than a megabyte", () => {
    const change = `${header("x")}:000000 100644 ${ZERO} ${OID} A\0${"p".repeat(MAX_TOKEN_BYTES + 1)}\0`;
    expect(() => parsed(Buffer.from(change), 65_536)).toThrow(HistoryError);
  });
});

describe("NulSplitter", () => {
  it("keeps no more of a token than its limit, and reports the token's length", () => {
    const seen: [number, number][] = [];
    const splitter = new NulSplitter((bytes, length) => seen.push([bytes.length, length]));
    for (let count = 0; count < 64; count += 1) splitter.push(Buffer.alloc(32_768, "x"));
    expect(splitter.open).toBe(true);
    splitter.push(Buffer.from("\0ab\0\0"));
    expect(splitter.open).toBe(false);
    expect(seen).toEqual([
      [MAX_TOKEN_BYTES, 2 * MAX_TOKEN_BYTES],
      [2, 2],
      [0, 0],
    ]);
  });

  it("finds the same tokens however the stream is cut", () => {
    const cuts = fc.array(
      fc.uint8Array({ maxLength: 9 }).map((bytes) => Buffer.from(bytes.map((byte) => byte % 3))),
    );
    fc.assert(
      fc.property(cuts, (chunks) => {
        const tokens: string[] = [];
        const splitter = new NulSplitter((bytes) => tokens.push(bytes.toString("latin1")));
        for (const chunk of chunks) splitter.push(chunk);
        const expected = Buffer.concat(chunks).toString("latin1").split("\0");
        expect(splitter.open).toBe(expected.pop() !== "");
        expect(tokens).toEqual(expected);
      }),
    );
  });
});
