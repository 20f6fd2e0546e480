import { crc32 } from "node:zlib";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Json, Transaction } from "@cairn/client";
import {
  contentHash,
  decodeMessage,
  encodeBirthRecord,
  encodeTransaction,
} from "../../src/transactions/transaction-codec.ts";
import { transaction } from "../index/support/transactions-arbitrary.ts";

const one: Transaction = {
  ops: [
    ["match", "pods", "default/web-0", null],
    ["put", "pods", "default/web-0", { image: "nginx", text: "line\nbreak" }],
    ["delete", "pods", "web-1"],
  ],
  id: "abc",
};

describe("a message of the log", () => {
  it("gives back the transaction that was submitted", () => {
    fc.assert(
      fc.property(transaction, (submitted) => {
        const decoded = decodeMessage(encodeTransaction(submitted));
        if (decoded.kind !== "transaction") throw new Error(decoded.kind);
        const ops = decoded.ops.map(({ op, bucket, key, document, revision }) => [
          op,
          ...(bucket === "" ? [] : [bucket, key]),
          ...(document === undefined ? [] : [JSON.parse(Buffer.from(document).toString()) as Json]),
          ...(op === "match" || (op === "configure" && revision !== undefined) ? [revision] : []),
        ]);
        expect(ops).toEqual(submitted.ops);
        expect(decoded.id).toBe(submitted.id);
      }),
    );
  });

  it("is text that a person can read", () => {
    const [head, header, document] = Buffer.from(encodeTransaction(one)).toString().split("\n");
    expect(head).toMatch(/^cairn\/1 [0-9a-f]{8}$/);
    expect(header).toBe(
      '{"ops":[["match","pods","default/web-0",null],["put","pods","default/web-0"],["delete","pods","web-1"]],"id":"abc"}',
    );
    expect(document).toBe('{"image":"nginx","text":"line\\nbreak"}');
  });

  it("puts a key without a namespace into default", () => {
    const decoded = decodeMessage(encodeTransaction(one));
    expect(decoded).toMatchObject({ ops: [{}, {}, { op: "delete", key: "default/web-1" }] });
  });

  it("gives back a birth record", () => {
    const birth = { log: "x", offset: 7, deliberate: true };
    expect(decodeMessage(encodeBirthRecord(birth))).toEqual({ kind: "birth", birth });
  });

  it("is unreadable, not half read, when any one byte of it was changed", () => {
    const good = encodeTransaction(one);
    for (let at = 0; at < good.length; at += 1) {
      const bad = Buffer.from(good);
      bad[at] = (bad[at] ?? 0) ^ 0x20;
      const decoded = decodeMessage(bad);
      // Upper-case digits in the checksum are the same number.
      if (decoded.kind === "transaction") expect(at).toBeLessThan("cairn/1 00000000".length);
      else expect(decoded.kind).toBe("unreadable");
    }
  });

  it("is unreadable when somebody else wrote it", () => {
    for (const foreign of ["", "hello", '{"ops":[]}', "cairn/1 00000000\n", "cairn/2 00000000\n{}"]) {
      expect(decodeMessage(Buffer.from(foreign)).kind).toBe("unreadable");
    }
  });

  it.each(["null", "3", '"text"', "[]", "{}", '{"ops":[null]}', '{"ops":3}', '{"birth":null}'])(
    "is unreadable, and no error, when it is framed as ours and says %s",
    (body) => {
      const crc = crc32(body).toString(16).padStart(8, "0");
      expect(decodeMessage(Buffer.from(`cairn/1 ${crc}\n${body}`)).kind).toBe("unreadable");
    },
  );

  it("has the same content hash exactly when operations, documents and id are the same", () => {
    const other: Transaction = { ...one, ops: [["put", "pods", "default/web-0", { image: "nginx:2" }]] };
    expect(contentHash(encodeTransaction(one))).toEqual(contentHash(encodeTransaction(one)));
    expect(contentHash(encodeTransaction(one))).not.toEqual(contentHash(encodeTransaction(other)));
  });
});

describe("a transaction that is not valid is refused before it is sent", () => {
  const deep = JSON.parse("[".repeat(50_000) + "]".repeat(50_000)) as Json;
  const refused: [string, unknown, RegExp][] = [
    ["no operations", { ops: [] }, /ops is empty/],
    ["not an object", [], /a transaction is/],
    ["an unknown field", { ops: [["delete", "a", "b"]], at: 1 }, /unknown field "at"/],
    ["an unknown operation", { ops: [["cas", "a", "b"]] }, /unknown operation "cas"/],
    ["a part too many", { ops: [["delete", "a", "b", 1]] }, /delete has 3 parts, this one has 4/],
    ["a bucket in capitals", { ops: [["delete", "Pods", "b"]] }, /must match/],
    ["a reserved bucket", { ops: [["delete", "events", "b"]] }, /reserved/],
    ["an empty name", { ops: [["delete", "pods", "a/"]] }, /1 to 1024 bytes/],
    ["a name that is too long", { ops: [["delete", "pods", `a/${"é".repeat(513)}`]] }, /this one has 1026/],
    ["an empty namespace", { ops: [["delete", "pods", "/b"]] }, /namespace has 1 to 253/],
    ["half a surrogate pair", { ops: [["delete", "pods", "a/\ud800"]] }, /valid Unicode/],
    [
      "a key written twice",
      {
        ops: [
          ["put", "pods", "x", 1],
          ["delete", "pods", "default/x"],
        ],
      },
      /written twice/,
    ],
    ["a revision of zero", { ops: [["match", "pods", "x", 0]] }, /positive integer/],
    ["an integer that loses digits", { ops: [["put", "pods", "x", { n: [2 ** 53] }]] }, /lose digits/],
    ["infinity", { ops: [["put", "pods", "x", Infinity]] }, /JSON cannot hold/],
    ["a document that is missing", { ops: [["put", "pods", "x", undefined]] }, /JSON value/],
    ["a document nested too deeply", { ops: [["put", "pods", "x", deep]] }, /nested too deeply/],
    ["an id that is no Unicode", { ops: [["delete", "pods", "x"]], id: "\ud800" }, /id must be valid/],
    ["an empty id", { ops: [["delete", "pods", "x"]], id: "" }, /id is text/],
  ];
  it.each(refused)("%s", (_, value, message) => {
    expect(() => encodeTransaction(value as Transaction)).toThrow(message);
    expect(() => encodeTransaction(value as Transaction)).toThrow(
      expect.objectContaining({ code: "TX_INVALID" }),
    );
  });

  it("a document that holds itself, of which there would be no end", () => {
    const [alone, many]: [Record<string, unknown>, unknown[]] = [{}, []];
    alone["self"] = { deep: [1, alone] };
    many.push(many, many, "text");
    for (const document of [alone, many, [[alone]]]) {
      const ops = [["put", "pods", "x", document]];
      expect(() => encodeTransaction({ ops } as never)).toThrow("ops[0]: a document holds itself");
    }
  });

  it("but one that holds a part many times is a document", () => {
    const part = { a: [1, 2, 3] };
    const document = Array.from({ length: 50_000 }, () => part);
    const encoded = encodeTransaction({ ops: [["put", "pods", "x", [document, part]]] });
    expect(encoded.length).toBeGreaterThan(50_000 * JSON.stringify(part).length);
  });

  it("but any other JSON value is a document", () => {
    for (const document of [
      null,
      true,
      0,
      -0.5,
      1e-300,
      "",
      [],
      {},
      2 ** 53 - 1,
      JSON.parse('{"__proto__":1}'),
    ] as Json[]) {
      const decoded = decodeMessage(encodeTransaction({ ops: [["put", "pods", "x", document]] }));
      if (decoded.kind !== "transaction") throw new Error(decoded.kind);
      expect(JSON.parse(Buffer.from(decoded.ops[0]?.document ?? []).toString())).toEqual(document);
    }
  });
});
