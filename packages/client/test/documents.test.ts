import { describe, expect, it } from "vitest";
import { type Bucket, CairnClient, type Faithful, type Json } from "@cairn/client";
import { jsonProblem } from "@cairn/client/protocol";

interface Flag {
  readonly enabled: boolean;
  readonly rollout?: number;
  readonly tenants?: readonly string[];
}

class Point {
  readonly x: number;
  readonly y: number;

  constructor(x: number, y: number) {
    this.x = x;
    this.y = y;
  }
}

describe("a document", () => {
  it.for([
    ["an interface", { enabled: true, rollout: 3 } satisfies Flag],
    ["an instance of a class", new Point(1, 2)],
    ["an object without a prototype", Object.assign(Object.create(null) as object, { a: 1 })],
    ["an object with a member toJSON that is no method", { toJSON: 1, a: { toJSON: null } }],
  ] as const)("may be %s", ([, document]) => {
    expect(jsonProblem("the document", document)).toBeUndefined();
    expect(JSON.parse(JSON.stringify(document))).toEqual({ ...document });
  });

  it.for([
    [
      { deep: { list: [1, { u: [undefined] }] } },
      "the document at deep.list[1].u[0] must be a JSON value, not undefined",
    ],
    [{ a: new Map([[1, 2]]) }, "the document at a must be a JSON value, not an instance of Map"],
    [{ a: { toJSON: () => 1 } }, "the document at a must be a JSON value, not an instance of Object"],
    [new Date(0), "the document must be a JSON value, not an instance of Date"],
    [[1n], "the document at [0] must be a JSON value, not bigint"],
    [{ a: [Number.NaN] }, "the document at a[0] contains a number that JSON cannot represent"],
  ] as const)("that JSON would change is refused with its path: %o", ([document, problem]) => {
    expect(jsonProblem("the document", document)?.reason).toBe(problem);
  });

  it("that contains itself beside something else is refused", () => {
    const list: unknown[] = [1n];
    list.push(list);
    expect(jsonProblem("the document", list)?.reason).toMatch(
      /at \[0\] must be a JSON value|contains itself/,
    );
  });

  it("has a type whose members JSON keeps", () => {
    const client = new CairnClient({ urls: "http://127.0.0.1:1" });
    const accepted = (): unknown[] => {
      const flag: Flag = { enabled: true };
      const json: Json = { any: ["thing"] };
      return [
        client.put("flags", "a", flag),
        client.put("flags", "a", new Point(1, 2)),
        client.put("x", "a", json),
      ];
    };
    const rejected = (): unknown[] => [
      // @ts-expect-error A Date becomes a string.
      client.put("flags", "a", { at: new Date() }),
      // @ts-expect-error A Map becomes {}.
      client.put("flags", "a", new Map<string, string>()),
      // @ts-expect-error A function is dropped.
      client.put("flags", "a", { run: () => 1 }),
      // @ts-expect-error A member that is not optional is always undefined by mistake.
      client.put("flags", "a", { rollout: undefined }),
      // @ts-expect-error An item that is undefined becomes null.
      client.put<{ list: readonly (number | undefined)[] }>("flags", "a", { list: [undefined] }),
      // @ts-expect-error An optional Date becomes a string, too.
      client.put<{ at?: Date | undefined }>("flags", "a", { at: new Date() }),
    ];
    // As zod and valibot infer optional fields.
    interface Parsed {
      readonly name: string;
      readonly age?: number | undefined;
      readonly visits?: readonly { readonly place?: string | undefined }[] | undefined;
    }
    const parsed = async (people: Bucket<Parsed>): Promise<unknown> => {
      const found = await people.get("k");
      if (found !== undefined) await people.put("k", found.document);
      await people.load([{ key: "k", document: { name: "k", age: undefined } }]);
      await people.update("k", (was) => was && { ...was, age: undefined });
      return await people.update("k", (was) => was);
    };
    const faithful: Faithful<Flag> = { enabled: true };
    expect([accepted, rejected, parsed, faithful]).toHaveLength(4);
  });
});
