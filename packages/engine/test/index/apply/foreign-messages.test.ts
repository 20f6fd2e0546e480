import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type KvStore, memoryProvider } from "@cairn/kv";
import { encodeBirthRecord, encodeTransaction } from "../../../src/transactions/transaction-codec.ts";
import { IndexStore } from "../../../src/index/index-store.ts";
import type { LogMessage } from "../../../src/log/tx-log.ts";
import { framed } from "../../transactions/framed.ts";
import { cut, empty } from "../support/cut-log.ts";
import { separateRows } from "@cairn/test-support/nodes/separate-rows";

const birth = { log: "log-1", offset: 0 };
const FIRST = encodeBirthRecord(birth);

const messagesOf = (payloads: readonly Uint8Array[]): LogMessage[] =>
  [FIRST, ...payloads].map((payload, index) => ({ position: index + 1, time: 1_000 + index, payload }));

async function open(): Promise<{ kv: KvStore; index: IndexStore }> {
  const kv = await memoryProvider().open("/nonexistent/in-memory");
  return { kv, index: await IndexStore.open(kv, empty) };
}

async function allRows(kv: KvStore): Promise<string[]> {
  const found: string[] = [];
  for await (const rows of separateRows(kv)) {
    for (const [key, value] of rows)
      found.push(`${Buffer.from(key).toString("hex")}=${Buffer.from(value).toString("hex")}`);
  }
  return found;
}

describe("a message that no node wrote for this log", () => {
  let kv: KvStore;
  let index: IndexStore;
  beforeEach(async () => {
    ({ kv, index } = await open());
  });
  afterEach(async () => await kv.close());

  const put = (name: string, logId = birth.log): Uint8Array =>
    encodeTransaction({ ops: [["put", "pods", `default/${name}`, name]] }, logId);

  it.each<[string, Uint8Array, RegExp]>([
    ["of another log", put("b", "log-2"), /written for another log/],
    ["that begins another log", encodeBirthRecord({ log: "log-2", offset: 0 }), /written for another log/],
    ["that begins this log again", encodeBirthRecord({ ...birth, offset: 7 }), /only the first message/],
    [
      "that claims to continue this log, in its middle",
      encodeBirthRecord({
        log: "log-1",
        offset: 2,
        continues: { log: "log-1", anchor: { txId: 2, sha256: "0".repeat(64) } },
      }),
      /only the first message/,
    ],
    ["of anything", Buffer.from("hello"), /not a message of Cairn/],
    [
      "of a later format for another log",
      framed("?", { logId: "log-2", format: 2 }),
      /written for another log/,
    ],
  ])("%s keeps its tx-id, changes nothing and is reported", async (_, payload, why) => {
    const counts = await index.apply(messagesOf([put("a"), payload, put("c")]));
    expect(counts).toMatchObject({ transactions: 4, committed: 3, refused: { count: 1, last: { txId: 3 } } });
    expect(counts.refused.last?.reason).toMatch(why);
    const outcome = await index.outcome(3);
    expect(outcome).toMatchObject({ committed: false });
    expect(outcome?.reason).toMatch(why);
    expect(outcome?.reason).toMatch(/^TX_INVALID: /);
    const { documents } = await index.list({ bucket: "pods", limit: 10 });
    expect(documents.map(({ name }) => name)).toEqual(["a", "c"]);
    expect(index.state.log).toMatchObject(birth === undefined ? {} : { id: "log-1", offset: 0 });
  });

  it("stops the index before it if it is of this log and a later format, so that nothing after it is applied", async () => {
    const later = framed("?", { format: 2 });
    const messages = messagesOf([put("a"), later, put("c")]);
    const stopped = { code: "LOG_VERSION", message: /^Transaction 3 .* has format 2,/ };
    await expect(index.apply(messages)).rejects.toMatchObject(stopped);
    expect(index.state.txId).toBe(2);
    await expect(index.apply(messages.slice(2))).rejects.toMatchObject(stopped);
    const { documents } = await index.list({ bucket: "pods", limit: 10 });
    expect(documents.map(({ name }) => name)).toEqual(["a"]);
  });

  it("uses up no idempotency id that it shares with a transaction", async () => {
    const foreign = encodeTransaction({ ops: [["put", "pods", "a", 1]], id: "x" }, "log-2");
    const own = encodeTransaction({ ops: [["put", "pods", "a", 2]], id: "x" }, "log-1");
    await index.apply(messagesOf([foreign, own]));
    expect(await index.outcome(3)).toMatchObject({ committed: true });
  });
});

const ROUNDS = Number(process.env["CAIRN_SOAK_ROUNDS"] ?? 300);

describe("foreign messages, whatever they contain,", () => {
  const name = fc.constantFrom("a", "b", "default/c", "\u00e9", "\ud800", "__proto__", "x/y/z", "");
  const bucket = fc.constantFrom("pods", "events", "constructor", "to-string", "Pods", "__proto__");
  const value = fc.oneof(
    fc.json({ maxDepth: 3 }),
    fc.constantFrom("", "hello", "1 2", '"\ud800"', "{}", "\r1"),
  );
  const operation = fc.oneof(
    { weight: 6, arbitrary: fc.tuple(fc.constant("put"), bucket, name) },
    { weight: 2, arbitrary: fc.tuple(fc.constant("delete"), bucket, name) },
    { weight: 2, arbitrary: fc.tuple(fc.constant("evict"), bucket, name) },
    fc.tuple(
      fc.constant("match"),
      bucket,
      name,
      fc.oneof(fc.constant(null), fc.integer({ min: -1, max: 9 })),
    ),
    fc.constant(["event"]),
    fc.constant(["configure"]),
    fc.tuple(fc.constant("configure"), fc.oneof(fc.constant(null), fc.integer({ min: 0, max: 9 }))),
    fc.array(fc.anything({ withNullPrototype: false }), { maxLength: 4 }),
  );
  const policies = fc.constantFrom(
    '{"indexes":{"pods":["a"]}}',
    '{"expire":{"pods":{"after":1}}}',
    '{"history":{"pods":{"keep":1}}}',
    '{"indexes":{"__proto__":["a"]}}',
    '{"events":{"keep":1}}',
    "{}",
  );
  const event = fc.constantFrom(
    '{"object":"o","reason":"r"}',
    '{"object":"o"}',
    '{"object":"o","reason":"r","time":"1"}',
  );
  const line = fc.oneof({ weight: 3, arbitrary: value }, policies, event);
  /** A valid frame with arbitrary content. */
  const body = fc
    .record({
      ops: fc.oneof({ weight: 9, arbitrary: fc.array(operation, { maxLength: 4 }) }, fc.anything()),
      id: fc.option(fc.constantFrom("one", "two", "\ud800", "\ud801", "", 5), { nil: undefined }),
      lines: fc.array(line, { maxLength: 4 }),
      fits: fc.boolean(),
    })
    .map(({ ops, id, lines, fits }) => {
      const wanted = Array.isArray(ops)
        ? ops.filter((op) => Array.isArray(op) && ["put", "event", "configure"].includes(String(op[0])))
            .length
        : 0;
      const content = fits ? Array.from({ length: wanted }, (_, n) => lines[n] ?? "1") : lines;
      return [JSON.stringify({ ops, ...(id === undefined ? {} : { id }) }), ...content].join("\n");
    });
  const mutated = fc
    .tuple(body, fc.nat(), fc.constantFrom("", "{", "[", '"', ",", "\n", "\\", "0", '"ops":[],', "\u0000"))
    .map(([text, at, inserted]) => {
      const place = at % (text.length + 1);
      return text.slice(0, place) + inserted + text.slice(place + 1);
    });
  const payload = fc.oneof(
    { weight: 6, arbitrary: body.map((text) => framed(text.toWellFormed())) },
    { weight: 3, arbitrary: mutated.map((text) => framed(text.toWellFormed())) },
    body.map((text) => framed(text.toWellFormed(), { logId: "log-2" })),
    fc.uint8Array({ maxLength: 80 }).map((bytes) => framed(bytes)),
    fc.uint8Array({ maxLength: 80 }),
    fc.constantFrom(FIRST, encodeBirthRecord({ log: "log-2", offset: 3 })),
  );

  it(
    "result in the same rows whether applied one by one, in one batch or in any batches, and never stop a node",
    { tags: "rest/slow", timeout: 180_000 + ROUNDS * 20 },
    async () => {
      let committed = 0;
      await fc.assert(
        fc.asyncProperty(
          fc.array(payload, { minLength: 1, maxLength: 12 }),
          fc.array(fc.integer({ min: 1, max: 5 }), { maxLength: 6 }),
          async (payloads, lengths) => {
            const messages = messagesOf(payloads);
            const results: string[][] = [];
            for (const runs of [[messages], messages.map((one) => [one]), cut(messages, lengths)]) {
              const { kv, index } = await open();
              for (const run of runs) committed += (await index.apply(run)).committed;
              expect(index.state.txId).toBe(messages.length);
              results.push(await allRows(kv));
              await kv.close();
            }
            expect(results[1]).toEqual(results[0]);
            expect(results[2]).toEqual(results[0]);
          },
        ),
        { numRuns: ROUNDS, ...seeded() },
      );
      // If all messages were rejected, nothing would be tested.
      expect(committed).toBeGreaterThan(ROUNDS);
    },
  );
});

function seeded(): { seed?: number } {
  const seed = process.env["CAIRN_SOAK_SEED"];
  return seed === undefined ? {} : { seed: Number(seed) };
}
