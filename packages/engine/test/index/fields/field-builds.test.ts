import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { type KvStore, levelProvider } from "@cairn/kv";
import fc from "fast-check";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { TxOperation } from "@cairn/client";
import { buildNewFields } from "../../../src/index/keep-fields-built.ts";
import { IndexStore } from "../../../src/index/index-store.ts";
import { readBuckets } from "../../../src/index/read/bucket-reads.ts";
import { ROW } from "../../../src/index/rows/row-keys.ts";
import { emptyState } from "../../../src/index/rows/index-state.ts";
import { encodeBirthRecord, encodeTransaction } from "../../../src/transactions/transaction-codec.ts";
import type { LogMessage } from "../../../src/log/tx-log.ts";
import { FaultyKv, NONE, survived } from "../support/faulty-kv.ts";

const birth = { log: "log-1", offset: 0 };
const empty = emptyState({ id: "log-1", name: "cairn", bounds: { first: 1, last: 1 }, birth });
const DOCUMENTS = 1_500;
const STATES = ["running", "done", "failed"];
const INDEXED = ["configure", { indexes: { executions: ["state", "node"] } }] as const;

let folder = "";
let counter = 0;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-fields-"));
});
afterAll(async () => await rm(folder, { recursive: true, force: true }));

/** Some row keys are not UTF-8, or contain the replacement character. */
const name = (n: number): string => {
  const special = n % 50 === 0 ? "\0" : n % 70 === 0 ? "\ufffd" : "";
  return `default/e${String(n).padStart(5, "0")}${special}`;
};
const document = (n: number, state: number) => ({ state: STATES[state % 3] ?? "", node: `n${n % 7}` });

function message(position: number, ...ops: TxOperation[]): LogMessage {
  return { position, time: position, payload: encodeTransaction({ ops }, birth.log) };
}

/** The beginning of a log: many documents, then policies that index their fields. */
function beginning(): LogMessage[] {
  const puts = Array.from({ length: DOCUMENTS }, (_, n): TxOperation => [
    "put",
    "executions",
    name(n),
    document(n, n),
  ]);
  const first = { position: 1, time: 1, payload: encodeBirthRecord(birth) };
  return [first, message(2, ...puts), message(3, INDEXED)];
}

async function open(dir: string): Promise<{ kv: KvStore; index: IndexStore }> {
  const kv = await levelProvider().open(dir);
  return { kv, index: await IndexStore.open(kv, empty) };
}

async function rowsOf(kv: KvStore, kinds: readonly number[]): Promise<string[]> {
  const found: string[] = [];
  for await (const rows of kv.range({})) {
    for (const [key, value] of rows) {
      if (!kinds.includes(key[0] ?? 0)) continue;
      found.push(`${Buffer.from(key).toString("hex")} ${Buffer.from(value).toString("hex")}`);
    }
  }
  return found;
}

const running = { bucket: "executions", limit: 1_000, where: [{ field: "state", value: "running" }] };

it(
  "a field is built while messages are applied, whatever happens in between, and ends up as if it had always existed",
  { tags: "rest/slow" },
  async () => {
    const step = fc.oneof(
      fc.constant("build" as const),
      fc.constant("reopen" as const),
      fc.constantFrom("next batch fails" as const, "a read fails" as const),
      fc.array(fc.tuple(fc.nat(DOCUMENTS + 50), fc.nat(3)), { minLength: 1, maxLength: 40 }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 20 }), async (steps) => {
        const dir = path.join(folder, String((counter += 1)));
        let { kv, index } = await open(dir);
        let faulty = new FaultyKv(kv);
        const reopen = async (): Promise<void> => {
          await index.close();
          ({ kv } = await open(dir));
          faulty = new FaultyKv(kv);
          index = await IndexStore.open(faulty.store, empty);
        };
        await index.apply(beginning());
        await reopen();
        await expect(index.list(running)).rejects.toMatchObject({ code: "NOT_READY" });
        expect((await index.ask(readBuckets)).buckets[0]?.fields).toMatchObject({ state: { counts: null } });
        let position = 3;
        for (const one of steps) {
          if (one === "build") await survived(index.buildFields());
          else if (one === "reopen") await reopen();
          else if (one === "next batch fails") faulty.faults = { reads: [], batches: ["lost"] };
          else if (one === "a read fails") faulty.faults = { reads: [false, true], batches: [] };
          else {
            const messages = one.map(([n, state]) => {
              position += 1;
              const op: TxOperation =
                state === 3
                  ? ["delete", "executions", name(n)]
                  : ["put", "executions", name(n), document(n, state)];
              return message(position, op);
            });
            await survived(index.apply(messages));
            faulty.faults = NONE;
            await index.apply(messages.filter(({ position: at }) => at > index.state.txId));
          }
        }
        faulty.faults = NONE;
        while (await index.buildFields());
        const counts = new Map<string, number>();
        const expected: string[] = [];
        for (let from = 0; from <= DOCUMENTS + 50; from += 1) {
          const key = name(from).slice("default/".length);
          const found = await index.get({ bucket: "executions", namespace: "default", name: key });
          if (found === undefined) continue;
          const { state } = JSON.parse(found.json) as { state: string };
          counts.set(state, (counts.get(state) ?? 0) + 1);
          if (state === "running") expected.push(key);
        }
        const [bucket] = (await index.ask(readBuckets)).buckets;
        expect(bucket?.fields["state"]?.counts).toEqual(Object.fromEntries(counts));
        const listed = await index.list(running);
        expect(listed.documents.map((one) => one.name)).toEqual(expected);
        expect(await rowsOf(kv, [ROW.fieldBuild, ROW.fieldRemoval])).toEqual([]);
        await index.close();
      }),
      { numRuns: 15 },
    );
  },
);

it("a field is awaited by a joining node only if its build has not begun", async () => {
  const { index } = await open(path.join(folder, String((counter += 1))));
  await index.apply(beginning());
  const step = index.buildFields();
  await index.apply([message(4, ["configure", { indexes: { executions: ["state", "node", "zone"] } }])]);
  await step;
  const progress: string[] = [];
  const build = async (): Promise<void> =>
    await buildNewFields(index, new AbortController().signal, (done, total) => {
      progress.push(`${done}/${total}`);
    });
  expect([...(await index.fieldsBeingBuilt()).values()]).toEqual([true, true, false]);
  await build();
  expect((await index.fieldsBeingBuilt()).has(3)).toBe(false);
  expect(progress.at(-1)).toBe(`${DOCUMENTS}/${DOCUMENTS}`);
  await index.apply([message(5, ["configure", {}]), message(6, INDEXED)]);
  const again = async (): Promise<boolean[]> => {
    const building = index.buildFields();
    await index.apply([message(index.state.txId + 1, ["delete", "executions", name(0)])]);
    await building;
    return [...(await index.fieldsBeingBuilt()).values()];
  };
  while ((await again()).includes(false));
  progress.length = 0;
  await build();
  expect(progress).toEqual([]);
  expect([...(await index.fieldsBeingBuilt()).values()]).toEqual([true, true]);
  await index.close();
});

it("a field's build does not begin until building starts, and then only the final documents are indexed", async () => {
  const { kv, index } = await open(path.join(folder, String((counter += 1))));
  await index.apply(beginning());
  const changes = Array.from({ length: 300 }, (_, n) =>
    message(4 + n, ["put", "executions", name(n % 9), document(n, n + 1)]),
  );
  await index.apply(changes);
  expect(await rowsOf(kv, [ROW.field, ROW.fieldCount])).toEqual([]);
  expect([...(await index.fieldsBeingBuilt())]).toEqual([
    [1, false],
    [2, false],
  ]);
  const looked: number[] = [];
  while (await index.buildFields((count) => looked.push(count)));
  expect(looked.reduce((sum, count) => sum + count, 0)).toBe(DOCUMENTS);
  expect((await rowsOf(kv, [ROW.field])).length).toBe(2 * DOCUMENTS);
  expect((await index.fieldsBeingBuilt()).size).toBe(0);
  await index.close();
});

it("a step of a build fails if a batch fails during the next page, and nothing is counted twice", async () => {
  const { kv, index } = await open(path.join(folder, String((counter += 1))));
  await index.apply(beginning());
  const faulty = new FaultyKv(kv);
  const doubtful = await IndexStore.open(faulty.store, empty);
  // These are the first page, the second page, and the end of the build.
  for (const batches of [["lost"], [false, "lost"], [false, "lost"]] as const) {
    faulty.faults = { reads: [], batches };
    await expect(doubtful.buildFields()).rejects.toMatchObject({ code: "DISK_FULL" });
  }
  faulty.faults = NONE;
  while (await doubtful.buildFields());
  expect((await index.ask(readBuckets)).buckets[0]?.fields["state"]?.counts).toEqual({
    running: DOCUMENTS / 3,
    done: DOCUMENTS / 3,
    failed: DOCUMENTS / 3,
  });
  await index.close();
});

it("a build does not prevent messages from being applied in between, however much work remains", async () => {
  const { index } = await open(path.join(folder, String((counter += 1))));
  await index.apply(beginning());
  const building = index.buildFields();
  await index.apply([message(4, ["put", "executions", name(DOCUMENTS - 1), document(0, 0)])]);
  // One step would have built everything.
  expect([...(await index.fieldsBeingBuilt()).values()]).toEqual([true, true]);
  expect(await building).toBe(true);
  while (await index.buildFields());
  expect((await index.ask(readBuckets)).buckets[0]?.fields["state"]?.counts).toMatchObject({ running: 501 });
  await index.close();
});

/** Fields of other buckets. */
const OTHERS = Object.fromEntries(
  Array.from({ length: 63 }, (_, n) => [`other-${n}`, Array.from({ length: 16 }, (_field, at) => `f${at}`)]),
);

it.each([
  ["1,000 values", 1_001, 8, 1_000, {}],
  ["64 KiB of values", 70, 1_000, 65, {}],
  ["their part of 4 MiB of values", 70, 1_000, 4, OTHERS],
])("of a field, at most %s are shown", async (_, values, size, shown, others) => {
  const { index } = await open(path.join(folder, String((counter += 1))));
  const puts = Array.from({ length: values }, (_value, n): TxOperation => [
    "put",
    "executions",
    name(n),
    { state: String(n).padEnd(size, "x") },
  ]);
  const [birthRecord] = beginning();
  if (birthRecord === undefined) throw new Error("the log has no beginning");
  const indexes = { executions: ["state"], ...others };
  await index.apply([birthRecord, message(2, ["configure", { indexes }]), message(3, ...puts)]);
  while (await index.buildFields());
  const field = (await index.ask(readBuckets)).buckets[0]?.fields["state"];
  expect([Object.keys(field?.counts ?? {}).length, field?.more]).toEqual([shown, true]);
  await index.close();
});

it("a field does not change the digest, whether it is built or not", async () => {
  const { index } = await open(path.join(folder, String((counter += 1))));
  await index.apply(beginning());
  const before = await index.digest();
  while (await index.buildFields());
  expect(await index.digest()).toEqual(before);
  await index.close();
});

it("a field that is no longer indexed leaves no rows, and is built again when it is indexed again", async () => {
  const { kv, index } = await open(path.join(folder, String((counter += 1))));
  await index.apply(beginning());
  while (await index.buildFields());
  const rows = await rowsOf(kv, [ROW.field, ROW.fieldCount]);
  expect(rows.length).toBeGreaterThan(2 * DOCUMENTS);
  await index.apply([message(4, ["configure", { indexes: { executions: ["node"] } }])]);
  await expect(index.list(running)).rejects.toMatchObject({
    code: "REQUEST_INVALID",
    hint: expect.stringContaining("Use an indexed field (node)"),
  });
  const byNode = { ...running, where: [{ field: "node", value: "n1" }] };
  // Fields that are unchanged remain available all the time.
  expect((await index.list(byNode)).documents.length).toBeGreaterThan(200);
  while (await index.buildFields());
  expect((await rowsOf(kv, [ROW.field])).length).toBe(DOCUMENTS);
  await index.apply([message(5, ["configure", {}]), message(6, INDEXED)]);
  await expect(index.list(byNode)).rejects.toMatchObject({ code: "NOT_READY" });
  while (await index.buildFields());
  expect((await rowsOf(kv, [ROW.field, ROW.fieldCount])).length).toBe(rows.length);
  await index.close();
});
