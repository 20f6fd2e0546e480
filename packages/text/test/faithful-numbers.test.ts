import { describe, expect, it } from "vitest";
import { parseJson } from "../src/faithful-json.ts";
import { serve } from "@cairn/test-support/nodes/served-node";

/** Returns a number's value as a fraction of integers, computed from its digits alone. */
function exactly(number: string): { over: bigint; under: bigint } {
  const [mantissa = "", power = "0"] = number.toLowerCase().split("e");
  const [whole = "", fraction = ""] = mantissa.split(".");
  const digits = BigInt(`${whole}${fraction}`.replace("-", ""));
  const over = mantissa.startsWith("-") ? -digits : digits;
  const exponent = BigInt(power) - BigInt(fraction.length);
  return exponent >= 0n ? { over: over * 10n ** exponent, under: 1n } : { over, under: 10n ** -exponent };
}

function areEqual(left: string, right: string): boolean {
  const a = exactly(left);
  const b = exactly(right);
  return a.over * b.under === b.over * a.under;
}

function taken(json: string): unknown {
  return parseJson(Buffer.from(json));
}

/** Returns the number as it is read back from a document, or undefined if it is refused. */
function kept(number: string): string | undefined {
  try {
    return JSON.stringify(taken(number));
  } catch {
    return undefined;
  }
}

function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

function anyNumber(random: () => number): string {
  const digits = (count: number): string =>
    Array.from({ length: count }, () => (random() < 0.3 ? "0" : String(Math.floor(random() * 10)))).join("");
  const whole = digits(Math.floor(random() * 20)).replace(/^0+/, "") || "0";
  const fraction = random() < 0.6 ? `.${digits(1 + Math.floor(random() * 20))}` : "";
  const sign = ["", "-", "+"][Math.floor(random() * 3)] ?? "";
  const power = Math.floor(random() * (random() < 0.5 ? 5 : 400));
  const exponent = random() < 0.4 ? `${random() < 0.5 ? "e" : "E"}${sign}${power}` : "";
  return `${random() < 0.3 ? "-" : ""}${whole}${fraction}${exponent}`;
}

describe("a number", () => {
  it("is returned exactly as it was sent, or is rejected", { tags: "rest/slow" }, () => {
    const random = randomOf(7);
    const counts = { kept: 0, refused: 0 };
    for (let n = 0; n < 50_000; n += 1) {
      const number = anyNumber(random);
      const answer = kept(number);
      const parsed = Number(number);
      const could = Number.isFinite(parsed) && areEqual(number, JSON.stringify(parsed));
      expect([number, answer !== undefined]).toEqual([number, could]);
      if (answer === undefined) counts.refused += 1;
      else {
        counts.kept += 1;
        expect([number, areEqual(number, answer)]).toEqual([number, true]);
      }
    }
    expect(counts.kept).toBeGreaterThan(5_000);
    expect(counts.refused).toBeGreaterThan(5_000);
  });

  it.each([
    ["1.0", "1"],
    ["3.10", "3.1"],
    ["1e2", "100"],
    ["-0", "0"],
    ["0e99999999999", "0"],
    ["0.1", "0.1"],
    ["1.7976931348623157e308", "1.7976931348623157e+308"],
    ["9007199254740991", "9007199254740991"],
    ["0.10000000000000000000", "0.1"],
  ])("%s is accepted, and comes back as %s", (sent, answered) => {
    expect(kept(sent)).toBe(answered);
  });

  it.each([
    [
      "9007199254740991.4",
      '[1, {"a b": [9007199254740991.4]}]',
      'at [1]["a b"][0] would become 9007199254740991.',
    ],
    ["1e-400", '{"x": 1e-400}', "at x would become 0."],
    ["1e400", '{"x": {"y": 1e400}}', "at x.y is larger than any number that can be stored."],
    ["0.1234567890123456789012345", "0.1234567890123456789012345", "would become 0.12345678901234568."],
    [
      "-0.123456789012345678",
      '{"s": "1e400 \\" : {", "x": -0.123456789012345678}',
      "at x would become -0.12345678901234568.",
    ],
  ])("%s is refused, with its position in the body", (number, json, why) => {
    expect(() => taken(json)).toThrow(`The number ${number}`);
    expect(() => taken(json)).toThrow(why);
  });

  it("within a string is not checked, however many digits it has", () => {
    const text = '{"a": "0.1234567890123456789012345", "b": "1e400", "\\"1e400": "x\\\\"}';
    expect(taken(text)).toEqual(JSON.parse(text));
  });
});

describe("a repeated name in an object", () => {
  it.each([
    ['{"a": 1, "a": 2}', "at a."],
    ['[{"a": {"b": 1, "c": 2, "b": 3}}]', "at [0].a.b."],
    ['{"a": 1, "\\u0061": 2}', "at a."],
    ['{"__proto__": 1, "__proto__": 2}', "at __proto__."],
    ['{"x": [{"k": 1}, {"k": 1}], "x": 1}', "at x."],
  ])("is refused in %s", (json, where) => {
    expect(() => taken(json)).toThrow(`The body contains an object with a repeated name ${where}`);
  });

  it("does not mean the same name in several objects, or in a string", () => {
    const text =
      '{"a": {"a": [{"a": ":"}, {"a": "{\\"a\\": 1, \\"a\\": 2}"}]}, "": {"": 0}, "__proto__": {"a": 1}}';
    expect(JSON.stringify(taken(text))).toBe(JSON.stringify(JSON.parse(text)));
  });
});

it("a node refuses unfaithful JSON in documents, transactions and lines of a batch, and stores nothing", async () => {
  await using served = await serve();
  const bodies = [
    ["PUT", "/api/v1/things/a", '{"x": 1e400}', "application/json"],
    ["PUT", "/api/v1/things/a", '{"x": 1, "x": 1}', "application/json"],
    ["POST", "/api/v1/tx", '{"ops": [["put", "things", "a", 1e-400]]}', "application/json"],
    [
      "POST",
      "/api/v1/tx/batch",
      '{"ops": [["put", "things", "a", {"x": 1, "x": 1}]]}\n',
      "application/x-ndjson",
    ],
  ] as const;
  for (const [method, address, body, type] of bodies) {
    const answer = await served.raw(method, address, { body, headers: { "content-type": type } });
    expect([answer.status, JSON.parse(answer.text)]).toMatchObject([400, { error: { code: "TX_INVALID" } }]);
  }
  expect(served.node.submitted).toEqual([]);
});

it.each([
  ["12345678901234567890.5", /at x would become .* Write it as a string/],
  ["1e400", /at x is larger than any number that can be stored\. .*Write it as a string/],
  [
    "9007199254740992",
    /^The document cannot be stored: a document at x contains the integer 9007199254740992, .* Store it as a string\./,
  ],
])(
  "a node stores the refused number %s if it is sent as a string, as the error says",
  async (number, told) => {
    await using served = await serve();
    const put = async (value: string): Promise<{ status: number; text: string }> =>
      await served.raw("PUT", "/api/v1/things/a", {
        body: `{"x": ${value}}`,
        headers: { "content-type": "application/json" },
      });
    const refused = await put(number);
    const { error } = JSON.parse(refused.text) as { error: { message: string; hint: string } };
    expect([refused.status, `${error.message} ${error.hint}`]).toEqual([400, expect.stringMatching(told)]);
    expect(served.node.submitted).toEqual([]);
    expect((await put(JSON.stringify(number))).status).toBeLessThan(300);
    expect(served.node.submitted).toMatchObject([{ ops: [["put", "things", "default/a", { x: number }]] }]);
  },
);
