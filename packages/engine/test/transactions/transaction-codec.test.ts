import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Json, Transaction } from "@cairn/client";
import { contentHash, logTagOf, payloadMark } from "../../src/transactions/message-frame.ts";
import {
  decodeMessage,
  encodeBirthRecord,
  encodeTransaction,
} from "../../src/transactions/transaction-codec.ts";
import { transaction } from "../index/support/transactions-arbitrary.ts";
import { framed } from "./framed.ts";

const encode = (submitted: Transaction): Uint8Array => encodeTransaction(submitted, "log-1");

const one: Transaction = {
  ops: [
    ["match", "pods", "default/web-0", null],
    ["put", "pods", "default/web-0", { image: "nginx", text: "line\nbreak" }],
    ["delete", "pods", "web-1"],
  ],
  id: "abc",
};

const put = (document: string | Uint8Array): Uint8Array =>
  Buffer.concat([Buffer.from('{"ops":[["put","fx","a"]]}\n'), Buffer.from(document)]);
const lists = (depth: number): string => "[".repeat(depth) + "]".repeat(depth);

describe("a message of the log", () => {
  it("decodes to the transaction that was submitted", () => {
    fc.assert(
      fc.property(transaction, (submitted) => {
        const decoded = decodeMessage(encode(submitted));
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

  it("is human-readable text", () => {
    const [head, header, document] = Buffer.from(encode(one)).toString().split("\n");
    expect(head).toMatch(/^cairn\/1 [0-9a-f]{8} [0-9a-f]{16} [0-9a-f]{16}$/);
    expect(head?.split(" ")[2]).toBe(logTagOf("log-1"));
    expect(header).toBe(
      '{"ops":[["match","pods","default/web-0",null],["put","pods","default/web-0"],["delete","pods","web-1"]],"id":"abc"}',
    );
    expect(document).toBe('{"image":"nginx","text":"line\\nbreak"}');
  });

  it("puts a key without a namespace into default", () => {
    const decoded = decodeMessage(encode(one));
    expect(decoded).toMatchObject({ ops: [{}, {}, { op: "delete", key: "default/web-1" }] });
  });

  it("decodes a single put to the same result with any spacing, whatever the bytes of its bucket and key", () => {
    const part = fc.oneof(
      fc.constantFrom(
        "fx",
        "a/b",
        "b-1",
        "tx",
        "",
        "\\u0061",
        "\\",
        '"',
        "\u0001",
        "\u00e9",
        "\u007f",
        "a\tb",
        "a,b]}",
      ),
      fc.string({ unit: "binary", maxLength: 8 }),
    );
    fc.assert(
      fc.property(part, part, (bucket, key) => {
        const ops = `"ops":[["put","${bucket}","${key}"]]}\n1`;
        const [tight, spaced] = [`{${ops}`, `{ ${ops}`].map((body) => {
          const decoded = decodeMessage(framed(body));
          return JSON.stringify(decoded.kind === "transaction" ? decoded.ops : decoded);
        });
        expect(tight).toBe(spaced);
      }),
      { numRuns: 1_000 },
    );
  });

  it("decodes to a birth record", () => {
    const birth = { log: "x", offset: 7, deliberate: true };
    expect(decodeMessage(encodeBirthRecord(birth))).toEqual({ kind: "birth", birth, logTag: logTagOf("x") });
  });

  it("differs each time the same transaction is submitted, with the same content hash", () => {
    const messages = Array.from({ length: 1_000 }, () => encode(one));
    expect(new Set(messages.map((message) => Buffer.from(message).toString("hex"))).size).toBe(1_000);
    expect(new Set(messages.map((message) => contentHash(message).toString("hex"))).size).toBe(1);
  });

  it("is 34 bytes longer because of its log tag and its random part", () => {
    const [head = ""] = Buffer.from(encode(one)).toString().split("\n");
    expect(head.length - "cairn/1 00000000".length).toBe(34);
  });

  it("is unreadable, not partly read, when any byte was changed", () => {
    const good = encode(one);
    for (let at = 0; at < good.length; at += 1) {
      for (const mask of [0x01, 0x20, 0x80]) {
        const bad = Buffer.from(good);
        bad[at] = (bad[at] ?? 0) ^ mask;
        expect(decodeMessage(bad).kind).toBe("unreadable");
      }
    }
  });

  it("is unreadable when another program wrote it", () => {
    for (const foreign of ["", "hello", '{"ops":[]}', "cairn/1 00000000\n{}", "cairn/2 00000000\n{}"]) {
      expect(decodeMessage(Buffer.from(foreign)).kind).toBe("unreadable");
    }
  });

  it("is recognized as one of a later format, whatever follows its first line, unless its digit was changed", () => {
    for (const body of ["", "{}", "\xff", '{"ops":[["put","pods","a"]]}\n1']) {
      for (const by of [undefined, "deployer-1"]) {
        const later = Buffer.from(framed(body, { format: 2, ...(by && { by }) }));
        expect(decodeMessage(later)).toMatchObject({ kind: "later", format: 2, logTag: logTagOf("log-1") });
        expect(payloadMark(later).toString("hex")).toMatch(/0123456789abcdef$/);
      }
    }
    for (const format of [1, 2, 7]) {
      for (const digit of "0123456789:") {
        if (digit === String(format)) continue;
        const changed = Buffer.from(framed('{"ops":[]}', { format }));
        changed.write(digit, "cairn/".length);
        expect(decodeMessage(changed).kind).toBe("unreadable");
      }
    }
  });

  it("may name the node that wrote it", () => {
    const body = '{"ops":[["delete","pods","a"]]}';
    expect(decodeMessage(framed(body, { by: "deployer-1" })).kind).toBe("transaction");
    for (const by of ["", "two words", "\u00e9", "x".repeat(65)]) {
      expect(decodeMessage(framed(body, { by })).kind).toBe("unreadable");
    }
  });

  it.each<[string, string | Uint8Array]>([
    ["null", "null"],
    ["a number", "3"],
    ["text", '"text"'],
    ["a list", "[]"],
    ["an empty map", "{}"],
    ["an operation that is null", '{"ops":[null]}'],
    ["operations that are a number", '{"ops":3}'],
    ["an id without operations", `{"ops":[],"id":"a"}`],
    ["an operation whose name is a list, nested deeply", `{"ops":[[${lists(4_500)}]]}`],
    ["a list nested more deeply than any stack", `{"ops":[${lists(200_000)}]}`],
    ["a birth record of null", '{"birth":null}'],
    ["a birth record and operations", '{"birth":{"log":"x","offset":0},"ops":[["delete","fx","a"]]}'],
    ["a birth record and another line", '{"birth":{"log":"x","offset":0}}\n1'],
    ["a name that is not known", '{"ops":[["delete","fx","a"]],"by":"me"}'],
    ["a name that every object inherits", '{"ops":[["delete","fx","a"]],"__proto__":1}'],
    ["an id that is a number", '{"ops":[["delete","fx","a"]],"id":5}'],
    ["an id that is null", '{"ops":[["delete","fx","a"]],"id":null}'],
    ["an empty id", '{"ops":[["delete","fx","a"]],"id":""}'],
    ["an id that is too long", `{"ops":[["delete","fx","a"]],"id":"${"x".repeat(257)}"}`],
    ["an id that is not valid Unicode", '{"ops":[["delete","fx","a"]],"id":"\\ud800"}'],
    ["a key written twice", '{"ops":[["put","fx","default/a"],["put","fx","a"]]}\n1\n2'],
    ["policies set twice", '{"ops":[["configure"],["configure"]]}\n{}\n{}'],
    ["too few documents", '{"ops":[["put","fx","a"]]}'],
    ["a document too many", put("1\n2")],
    ["a line break at its end", put("1\n")],
    ["a document that is not JSON", put("hello")],
    ["an empty document", put("")],
    ["a document after a byte-order mark", put("\ufeff1")],
    ["a document with a carriage return between its parts", put('{"a":\r1}')],
    ["a document with a carriage return inside a text", put('"a\rb"')],
    ["a document that is not UTF-8", put(Buffer.from([0x22, 0xff, 0x22]))],
    ["a document nested too deeply", put(lists(501))],
    ["an event that is not JSON", '{"ops":[["event"]]}\n{'],
    ["an invalid event", '{"ops":[["event"]]}\n{"object":"a"}'],
    ["invalid policies", '{"ops":[["configure"]]}\n{"indexes":{"fx":[5]}}'],
    ["policies nested deeply", `{"ops":[["configure"]]}\n{"indexes":${lists(400)}}`],
    ["a name that is endless", `{"ops":[["${"x".repeat(100_000)}"]]}`],
  ])(
    "is unreadable, with a short reason and no error, when it is framed as a Cairn message but contains %s",
    (_, body) => {
      const decoded = decodeMessage(framed(body));
      if (decoded.kind !== "unreadable") throw new Error(decoded.kind);
      expect(decoded.reason.length).toBeLessThan(400);
      expect(decoded.reason.isWellFormed()).toBe(true);
    },
  );

  it("means what the last of several equal names of line 2 says", () => {
    const decoded = decodeMessage(
      framed('{"ops":[["delete","fx","a"]],"id":"a","id":"b","ops":[["delete","fx","b"]]}'),
    );
    expect(decoded).toMatchObject({ kind: "transaction", id: "b", ops: [{ key: "default/b" }] });
  });

  it.each(["1", " 1", '"\u00e9\\ud800"', lists(500), '{"a":[true,false,null,-0.5e-7]}', '{"a":1,"a":2}'])(
    "preserves the document %s unchanged",
    (document) => {
      const decoded = decodeMessage(framed(put(document)));
      if (decoded.kind !== "transaction") throw new Error(decoded.kind);
      expect(Buffer.from(decoded.ops[0]?.document ?? []).toString()).toBe(document);
    },
  );

  it("has the same content hash if and only if operations, documents and id are the same", () => {
    const other: Transaction = { ...one, ops: [["put", "pods", "default/web-0", { image: "nginx:2" }]] };
    expect(contentHash(encode(one))).toEqual(contentHash(encode(one)));
    expect(contentHash(encode(one))).not.toEqual(contentHash(encode(other)));
  });
});

describe("an invalid transaction is refused before it is sent", () => {
  const deep = JSON.parse("[".repeat(50_000) + "]".repeat(50_000)) as Json;
  const refused: [string, unknown, RegExp][] = [
    ["no operations", { ops: [] }, /ops must not be empty/],
    ["not an object", [], /a transaction must be/],
    ["an unknown field", { ops: [["delete", "a", "b"]], at: 1 }, /unknown field "at"/],
    ["an unknown operation", { ops: [["cas", "a", "b"]] }, /unknown operation "cas"/],
    ["a part too many", { ops: [["delete", "a", "b", 1]] }, /the last part of a write is {"epoch": number}/],
    [
      "an epoch that is no hold",
      { ops: [["put", "a", "0/b", {}, 3]] },
      /the last part of a write is {"epoch"/,
    ],
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
    ["infinity", { ops: [["put", "pods", "x", Infinity]] }, /JSON cannot represent/],
    ["a document that is missing", { ops: [["put", "pods", "x", undefined]] }, /JSON value/],
    ["a document nested too deeply", { ops: [["put", "pods", "x", deep]] }, /nested too deeply/],
    ["an id that is not valid Unicode", { ops: [["delete", "pods", "x"]], id: "\ud800" }, /id must be valid/],
    ["an empty id", { ops: [["delete", "pods", "x"]], id: "" }, /id is text/],
  ];
  it.each(refused)("%s", (_, value, message) => {
    expect(() => encode(value as Transaction)).toThrow(message);
    expect(() => encode(value as Transaction)).toThrow(expect.objectContaining({ code: "TX_INVALID" }));
  });

  it("a document that contains itself", () => {
    const [alone, many]: [Record<string, unknown>, unknown[]] = [{}, []];
    alone["self"] = { deep: [1, alone] };
    many.push(many, many, "text");
    for (const document of [alone, many, [[alone]]]) {
      const ops = [["put", "pods", "x", document]];
      expect(() => encode({ ops } as never)).toThrow("ops[0]: a document contains itself");
    }
  });

  it("unlike a document that contains a part many times", () => {
    const part = { a: [1, 2, 3] };
    const document = Array.from({ length: 50_000 }, () => part);
    const encoded = encode({ ops: [["put", "pods", "x", [document, part]]] });
    expect(encoded.length).toBeGreaterThan(50_000 * JSON.stringify(part).length);
  });

  it("unlike one with any other JSON value as a document", () => {
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
      const decoded = decodeMessage(encode({ ops: [["put", "pods", "x", document]] }));
      if (decoded.kind !== "transaction") throw new Error(decoded.kind);
      expect(JSON.parse(Buffer.from(decoded.ops[0]?.document ?? []).toString())).toEqual(document);
    }
  });
});
