import * as fc from "fast-check";
import { expect, it } from "vitest";
import type { KvOperation, KvRange, KvReader, KvSnapshot, KvStore } from "../src/store/kv-store.ts";
import type { KvStoreBench } from "./kv-store-bench.ts";

// Keys in hexadecimal are sorted like their bytes, so a plain map of rows can be the model.
type Rows = Map<string, string>;
type Command =
  | {
      readonly kind: "batch";
      readonly changes: readonly (readonly [key: string, value: string | undefined])[];
    }
  | { readonly kind: "get"; readonly keys: readonly string[] }
  | { readonly kind: "range"; readonly range: ModelRange }
  | { readonly kind: "snapshot" | "compact" | "reopen" | "capture" };
interface ModelRange {
  readonly lower: readonly ["gt" | "gte", string] | undefined;
  readonly upper: readonly ["lt" | "lte", string] | undefined;
  readonly reverse: boolean;
  readonly limit: number | undefined;
}

// Keys consist of only a few different bytes, so that they collide, and are often prefixes of each other.
const key = fc
  .array(fc.constantFrom("00", "01", "7f", "80", "ff"), { minLength: 1, maxLength: 3 })
  .map((parts) => parts.join(""));
const value = fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes).toString("hex"));
const range = fc.record({
  lower: fc.option(fc.tuple(fc.constantFrom("gt", "gte"), key), { nil: undefined }),
  upper: fc.option(fc.tuple(fc.constantFrom("lt", "lte"), key), { nil: undefined }),
  reverse: fc.boolean(),
  limit: fc.option(fc.nat(5), { nil: undefined }),
});
const change = fc.tuple(key, fc.option(value, { nil: undefined, freq: 3 }));
const command: fc.Arbitrary<Command> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constant("batch"), changes: fc.array(change, { maxLength: 8 }) }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("get"), keys: fc.array(key, { maxLength: 5 }) }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("range"), range }) },
  { weight: 2, arbitrary: fc.constantFrom({ kind: "snapshot" }, { kind: "compact" }) },
  { weight: 1, arbitrary: fc.constantFrom({ kind: "reopen" }, { kind: "capture" }) },
);

/** Compares sequences of commands with a sorted map, as a part of the suite. */
export function kvModelSuite(bench: KvStoreBench): void {
  it("behaves like a sorted map for any sequence of commands", async () => {
    let runs = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(command, { maxLength: 40 }), async (commands) => {
        await run(bench, `run ${runs++}`, commands);
      }),
      { numRuns: 40 },
    );
  });
}

async function run(bench: KvStoreBench, name: string, commands: readonly Command[]): Promise<void> {
  let place = name;
  let store: KvStore = await bench.open(place);
  let rows: Rows = new Map();
  let frozen: { readonly snapshot: KvSnapshot; readonly rows: Rows } | undefined;
  const check = async (look: (reader: KvReader, model: Rows) => Promise<void>): Promise<void> => {
    await look(store, rows);
    if (frozen !== undefined) await look(frozen.snapshot, frozen.rows);
  };
  const thaw = async (): Promise<void> => {
    await frozen?.snapshot.close();
    frozen = undefined;
  };
  for (const [step, each] of commands.entries()) {
    if (each.kind === "batch") {
      await store.batch(each.changes.map(operation));
      for (const [at, written] of each.changes) {
        if (written === undefined) rows.delete(at);
        else rows.set(at, written);
      }
    } else if (each.kind === "get") {
      await check(async (reader, model) => {
        const expected = each.keys.map((at) => model.get(at));
        expect((await reader.getMany(each.keys.map(raw))).map(hex)).toEqual(expected);
        for (const at of each.keys) expect(hex(await reader.get(raw(at)))).toBe(model.get(at));
      });
    } else if (each.kind === "range") {
      await check(async (reader, model) => {
        const found: (string | undefined)[][] = [];
        for await (const page of reader.range(rangeOf(each.range)))
          found.push(...page.map((row) => row.map(hex)));
        expect(found).toEqual(within(model, each.range));
      });
    } else if (each.kind === "snapshot") {
      await thaw();
      frozen = { snapshot: store.snapshot(), rows: new Map(rows) };
    } else if (each.kind === "compact") {
      await store.compact();
    } else {
      await thaw();
      if (each.kind === "capture") {
        await store.capture(bench.path(`${name} ${step}`));
        place = `${name} ${step}`;
      }
      await store.close();
      store = await bench.open(place);
      // A reopened store in memory has the rows of the directory that it was restored from.
      if (each.kind === "reopen" && !bench.provider.persistent) rows = await everything(store);
    }
  }
  await thaw();
  expect(await everything(store)).toEqual(rows);
  await store.close();
}

async function everything(reader: KvReader): Promise<Rows> {
  const rows: Rows = new Map();
  for await (const page of reader.range({}))
    for (const [at, held] of page) rows.set(hex(at) ?? "", hex(held) ?? "");
  return rows;
}

function operation([at, written]: readonly [string, string | undefined]): KvOperation {
  return written === undefined
    ? { type: "del", key: raw(at) }
    : { type: "put", key: raw(at), value: raw(written) };
}

function rangeOf({ lower, upper, reverse, limit }: ModelRange): KvRange {
  return {
    ...(lower === undefined ? {} : { [lower[0]]: raw(lower[1]) }),
    ...(upper === undefined ? {} : { [upper[0]]: raw(upper[1]) }),
    ...(limit === undefined ? {} : { limit }),
    reverse,
  };
}

function within(rows: Rows, { lower, upper, reverse, limit }: ModelRange): [string, string][] {
  const found = [...rows]
    .filter(([at]) => lower === undefined || at > lower[1] || (lower[0] === "gte" && at === lower[1]))
    .filter(([at]) => upper === undefined || at < upper[1] || (upper[0] === "lte" && at === upper[1]))
    .toSorted(([a], [b]) => (a < b ? -1 : 1));
  return (reverse ? found.toReversed() : found).slice(0, limit);
}

function raw(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, "hex"));
}

function hex(bytes: Uint8Array | undefined): string | undefined {
  return bytes === undefined ? undefined : Buffer.from(bytes).toString("hex");
}
