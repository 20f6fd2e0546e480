import { CairnClient } from "@cairn/client";
import { LocalAccess } from "@cairn/engine/src/node/local-access";
import { CairnError } from "@cairn/kv";
import { serve, type ServedNode } from "@cairn/test-support/nodes/served-node";
import { describe, expect, it, vi } from "vitest";

const ACCESSES: readonly (readonly [string, (served: ServedNode) => CairnClient])[] = [
  ["in the process", ({ node }) => new CairnClient({ access: new LocalAccess(node) })],
  ["over HTTP", ({ url }) => new CairnClient({ urls: url })],
];

describe.each(ACCESSES)("a query of an own index, %s,", (_access, client) => {
  it("returns its rows, as of a transaction that includes what the client wrote", async () => {
    await using served = await serve();
    const one = client(served);
    const { txId } = await one.put("pods", "a", 1);
    const asked = vi.fn<typeof served.node.queryIndex>(served.node.queryIndex);
    served.node.queryIndex = asked;
    expect(await one.sql("pods", "select ?", [{ a: null }], { limit: 5 })).toEqual({
      txId,
      columns: ["name", "text", "args"],
      rows: [["pods", "select ?", [{ a: null }]]],
      more: false,
    });
    expect((await one.sql("pods", "select :a", { a: 1 }, { minTx: 1 })).rows[0]?.[2]).toEqual({ a: 1 });
    expect(asked.mock.calls.map(([, , options]) => options)).toMatchObject([
      { minTx: txId, limits: { rows: 5 } },
      { minTx: 1, limits: {} },
    ]);
  });

  it("waits in vain once, and not again, for what the log has lost", async () => {
    await using served = await serve();
    const one = client(served);
    const { txId } = await one.put("pods", "a", 1);
    const rows = { columns: [], rows: [], more: false };
    const waits: unknown[] = [];
    served.node.queryIndex = (_name, _query, options) => {
      const wait = options?.minTx ?? 0;
      waits.push(wait);
      if (wait > txId) throw new CairnError("TX_TIMEOUT", "Not indexed in time.", "Try again.");
      return Promise.resolve({ ...rows, txId: waits.length === 1 ? 100 : txId });
    };
    await one.sql("pods", "select");
    await expect(one.sql("pods", "select")).rejects.toMatchObject({ code: "TX_TIMEOUT" });
    await one.sql("pods", "select");
    expect(one.lastTx).toBe(txId);
    expect(waits).toEqual([txId, 100, txId]);
  });

  it("that exceeds its limits is not repeated", async () => {
    await using served = await serve();
    let attempts = 0;
    served.node.queryIndex = () => {
      attempts += 1;
      return Promise.reject(new CairnError("QUERY_LIMIT", "Too much.", "Select less."));
    };
    await expect(client(served).sql("pods", "select")).rejects.toMatchObject({ code: "QUERY_LIMIT" });
    expect(attempts).toBe(1);
  });

  it.each([
    ["a text that is no string", 5, [], {}],
    ["arguments that are null", "select", null, {}],
    ["arguments that are a text", "select", "a", {}],
    ["a limit beyond the maximum", "select", [], { limit: 10_001 }],
    ["a limit of 0", "select", [], { limit: 0 }],
  ])("is refused with %s", async (_, text, args, options) => {
    await using served = await serve();
    const asked = client(served).sql("pods", text as string, args as never, options);
    await expect(asked).rejects.toMatchObject({
      code: "REQUEST_INVALID",
      message: "Not a valid query: it has another form.",
    });
  });

  it("is refused if JSON would change its arguments, or an option is unknown", async () => {
    await using served = await serve();
    const refused = client(served).sql("pods", "select ?", [Number.NaN]);
    await expect(refused).rejects.toMatchObject({ code: "TX_INVALID", details: { path: "[0]" } });
    const misspelt = client(served).sql("pods", "select", [], { limits: 1 } as object);
    await expect(misspelt).rejects.toMatchObject({ code: "REQUEST_INVALID" });
  });
});
