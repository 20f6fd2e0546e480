import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CairnError } from "@cairn/kv";
import { CairnClient, hasCode, type Json, type QueueOperation } from "@cairn/client";
import type { CairnNode } from "@cairn/engine";
import { startNode } from "@cairn/node";

let folder = "";
let node: CairnNode | undefined;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-refused-"));
  node = await startNode({ "cairn/node": { id: "n", dir: folder }, "cairn/http-server": { port: 0 } });
  await node.ready;
});
afterAll(async () => {
  await node?.close();
  await rm(folder, { recursive: true, force: true });
});

function started(): CairnNode {
  if (node === undefined) throw new Error("the node has not started");
  return node;
}

async function failure(work: Promise<unknown>): Promise<unknown> {
  return await work.then(
    () => undefined,
    (error: unknown) => error,
  );
}

function nested(levels: number): Json {
  let value: Json = 1;
  for (let level = 0; level < levels; level += 1) value = [value];
  return value;
}

const ACCESSES: readonly (readonly [string, () => CairnClient])[] = [
  ["in the process", () => started().client()],
  ["over HTTP", () => new CairnClient({ urls: started().url ?? "" })],
];

describe.each(ACCESSES)("a value that JSON would change, %s,", (_access, client) => {
  const circular: unknown[] = [];
  circular.push(circular);
  it.each<[what: string, place: string, document: unknown]>([
    ["NaN", "price", { price: Number.NaN }],
    ["undefined in a list", "[0]", [undefined]],
    // oxlint-disable-next-line no-sparse-arrays -- The case.
    ["a hole in a list", "deep[1]", { deep: [1, , 2] }],
    ["undefined alone", "", undefined],
    ["a Map", "m", { m: new Map([["a", 1]]) }],
    ["a Date", "list[1].at", { list: [1, { at: new Date(0) }] }],
    ["a member whose name is a symbol", "a", { a: { [Symbol("kind")]: 1, b: 1 } }],
    ["a BigInt", "", 5n],
    ["a function", "", () => 1],
    ["itself", "", circular],
    ["an integer that would lose digits", "", 2 ** 53],
  ])("is refused with its place before it is sent: %s", async (_what, place, document) => {
    const refused = { code: "TX_INVALID", status: 0, hint: expect.stringContaining("plain") };
    const put = await failure(client().put("odd", "k", document as Json));
    expect(put).toMatchObject({ ...refused, details: { path: place } });
    const ops = [["delete", "odd", "other"] as const, ["put", "odd", "k", document as Json] as const];
    const transaction = await failure(client().transact({ ops }));
    const inTransaction = `ops[1][3]${place === "" || place.startsWith("[") ? "" : "."}${place}`;
    // A cycle is one of the whole transaction.
    const details = { path: document === circular ? "" : inTransaction };
    expect(transaction).toMatchObject({ ...refused, details });
    const load = await failure(client().load("odd", [{ key: "k", document: document as Json }]));
    expect(load).toMatchObject({ ...refused, details: { path: place } });
    expect(await client().get("odd", "k")).toBeUndefined();
  });

  it("is refused if it is nested deeper than nodes accept, however deep, and accepted up to that", async () => {
    for (const levels of [501, 100_000]) {
      const document = nested(levels);
      const works = [
        () => client().put("odd", "k", document),
        () => client().load("odd", [{ key: "k", document }]),
        () => client().transact({ ops: [["put", "odd", "k", document]] }),
      ];
      for (const work of works)
        expect(await failure(work())).toMatchObject({
          code: "TX_INVALID",
          message: expect.stringContaining("nested too deeply"),
        });
    }
    await client().transact({ ops: [["put", "even", "deep", nested(500)]] });
    await client().put("even", "deep", nested(500));
    await client().delete("even", "deep");
  });

  it("is not accepted as a revision either", async () => {
    for (const ifRevision of [Number.NaN, Number.POSITIVE_INFINITY])
      expect(await failure(client().put("odd", "k", 1, { ifRevision }))).toMatchObject({
        code: "TX_INVALID",
      });
    expect(await client().get("odd", "k")).toBeUndefined();
  });

  it("is not a member that is undefined, which is left out", async () => {
    await client().put<{ a?: number | undefined; b: number }>("even", "k", { a: undefined, b: 1 });
    expect((await client().get("even", "k"))?.document).toStrictEqual({ b: 1 });
    await client().delete("even", "k");
  });

  it("is refused with the same hint as other transactions that nodes refuse, which fits both", async () => {
    const refused = await failure(client().put("Odd", "k", 1));
    expect(hasCode(refused, "TX_INVALID") && refused.hint).toContain("the types of @cairn/client");
  });

  it("is refused in an operation on a queue, too", async () => {
    const release: QueueOperation = ["release", "jobs", 0, Number.NaN];
    expect(await failure(client().transact<QueueOperation>({ ops: [release] }))).toMatchObject({
      details: { path: "ops[0][3]" },
    });
  });
});

describe("a client", () => {
  it.each([
    [{ tokn: "x" }, 'CairnClient has no option "tokn".'],
    [{ retryForMs: Number.NaN }, "The retryForMs of CairnClient is NaN."],
    [{ attemptMs: "PT5S" }, "The attemptMs of CairnClient is PT5S."],
  ])("is refused at once with %j", (options, message) => {
    const create = (): CairnClient => new CairnClient({ urls: started().url ?? "", ...(options as object) });
    expect(create).toThrow(expect.objectContaining({ code: "REQUEST_INVALID", message }));
  });
});

describe("hasCode", () => {
  it("recognizes the errors of clients, configurations and modules, and no others", async () => {
    const ofConfiguration = await failure(startNode({ "cairn/node": { id: "?" } }));
    expect(hasCode(ofConfiguration, "CONFIG_INVALID", "CONFIG_MODULE")).toBe(true);
    expect(hasCode(new CairnError("CONFLICT", "It is taken."), "CONFLICT")).toBe(true);
    expect(hasCode(new CairnError("CONFLICT", "It is taken."), "NOT_FOUND")).toBe(false);
    const ofSystem = Object.assign(new Error("There is no file."), { code: "NOT_FOUND" });
    expect([hasCode(ofSystem, "NOT_FOUND"), hasCode("NOT_FOUND", "NOT_FOUND")]).toEqual([false, false]);
    // @ts-expect-error There is no such code.
    expect(hasCode(ofConfiguration, "CONFIG_INVALDI")).toBe(false);
  });

  it("knows where a watch can begin", async () => {
    const watch = started().client().watch({ bucket: "b", from: "1-000000000000" });
    const compacted = await failure(watch.next());
    expect(hasCode(compacted, "WATCH_COMPACTED") && compacted.details.reason).toBe("regressed");
  });
});

describe.each(ACCESSES)("a call, %s,", (_access, client) => {
  it.each([
    { timeoutMs: Number.NaN },
    { timeoutMs: -1 },
    { timeoutMs: "PT5S" },
    { minTx: 1.5 },
    { minTx: -1 },
  ])("is refused at once with %j", async (options) => {
    const error = await failure(client().get("odd", "k", options as { timeoutMs: number }));
    expect(error).toMatchObject({ code: "REQUEST_INVALID" });
  });

  it("is refused at once with an invalid Date", async () => {
    const asOf = new Date(Number.NaN);
    expect(await failure(client().get("odd", "k", { asOf }))).toMatchObject({ code: "REQUEST_INVALID" });
  });

  it.each([undefined, null, 5, {}])("is refused at once with the key %j", async (key) => {
    expect(await failure(client().get("odd", key as string))).toMatchObject({ code: "REQUEST_INVALID" });
  });

  it.each<unknown>([undefined, null, 5, ["odd"]])("is refused at once with the bucket %j", async (bucket) => {
    expect(await failure(client().get(bucket as string, "k"))).toMatchObject({ code: "REQUEST_INVALID" });
    const listing = client().list(bucket as string);
    expect(await failure(listing[Symbol.asyncIterator]().next())).toMatchObject({ code: "REQUEST_INVALID" });
  });

  it.each([undefined, null, "x", -1, 1.5])("is refused at once with the transaction %j", async (txId) => {
    expect(await failure(client().await(txId as number))).toMatchObject({ code: "REQUEST_INVALID" });
  });

  it("is refused at once if half a surrogate pair is in a name", async () => {
    expect(await failure(client().get("odd", "\ud800"))).toMatchObject({ code: "REQUEST_INVALID" });
    expect(await failure(client().get("\ud800", "k"))).toMatchObject({ code: "REQUEST_INVALID" });
  });

  it("yields no version of a key that was never written", async () => {
    for await (const version of client().history("odd", "never")) expect(version).toBeUndefined();
  });
});

/** Answers writes with ids that the log does not reach, as one that has lost its end since. */
const inflated: typeof fetch = async (input, init) => {
  const response = await fetch(input, init);
  if (init?.method !== "POST") return response;
  const outcome = (await response.json()) as { readonly txId: number };
  return Response.json({ ...outcome, txId: outcome.txId + 100 }, response);
};

it("reads fail once, and not again, after the log has lost what a client saw", async () => {
  const client = new CairnClient({ urls: started().url ?? "", fetch: inflated });
  const { txId } = await client.put("odd", "lost", 1);
  expect(await failure(client.get("odd", "lost", { timeoutMs: 100 }))).toMatchObject({
    code: "TX_TIMEOUT",
    hint: expect.stringContaining("lost with the end of the log"),
  });
  expect(await client.get("odd", "lost", { timeoutMs: 5_000 })).toMatchObject({ document: 1 });
  expect(client.lastTx).toBe(txId - 100);
});
