import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { type KvStore, levelProvider } from "@cairn/kv";
import { filesWith, token } from "@cairn/kv/testing";
import type { TxOperation } from "@cairn/client";
import { afterEach, beforeEach, expect, it } from "vitest";
import { emptyState } from "../../../src/index/rows/index-state.ts";
import { IndexStore } from "../../../src/index/index-store.ts";
import { allRows } from "../../../src/index/rows/row-cursor.ts";
import { ROW, rowsOfKind } from "../../../src/index/rows/row-keys.ts";
import { readPurgeMarks } from "../../../src/index/rows/purge-row.ts";
import type { LogMessage } from "../../../src/log/tx-log.ts";
import { ofVersion2 } from "../../../testing/index-version.ts";
import { encodeBirthRecord, encodeTransaction } from "../../../src/transactions/transaction-codec.ts";

const LOG = "5eeded00-0000-4000-8000-000000000000";
const ENOUGH = { withinMs: 60_000 };

let folder = "";
let kv: KvStore;
let index: IndexStore;
let position = 0;

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-purge-"));
  position = 0;
  await opened();
  await index.apply([
    { position: (position += 1), time: 1, payload: encodeBirthRecord({ log: LOG, offset: 0 }) },
  ]);
});
afterEach(async () => {
  await index.close();
  await rm(folder, { recursive: true, force: true });
});

async function opened(wrap: (store: KvStore) => KvStore = (store) => store): Promise<void> {
  kv = wrap(await levelProvider({ writeBufferSize: 256 * 1024 }).open(folder));
  const identity = { id: LOG, name: "cairn", bounds: { first: 1, last: 1 }, birth: undefined };
  index = await IndexStore.open(kv, emptyState(identity));
}

function message(ops: readonly TxOperation[]): LogMessage {
  return { position: (position += 1), time: 1_000 + position, payload: encodeTransaction({ ops }, LOG) };
}

async function apply(...transactions: (readonly TxOperation[])[]): Promise<void> {
  await index.apply(transactions.map(message));
  while (await index.buildFields());
}

/** Writes so many documents that versions and the rows of each field have their own tables. */
async function fill(count: number, bucket = "vault"): Promise<void> {
  for (let at = 0; at < count; at += 500) {
    await apply(
      Array.from({ length: 500 }, (_, n) => [
        "put",
        bucket,
        `default/other-${at + n}`,
        { one: token(), two: token(), body: token() + token() },
      ]),
    );
  }
}

/** Returns the number of `tokens` that a search through the files, or some of them, finds. */
async function found(
  tokens: readonly string[],
  isMeant: (name: string) => boolean = () => true,
): Promise<number> {
  const hits = await Promise.all(
    tokens.map(async (one) => {
      const files = await filesWith(folder, one);
      return files.some((file) => isMeant(path.relative(folder, file)));
    }),
  );
  return hits.filter(Boolean).length;
}

it("an index purges evicted documents that version 2 wrote, wherever they are now", async () => {
  const tokens = Array.from({ length: 3 }, token);
  const body = token() + token() + token();
  const [first = "", second = "", third = ""] = tokens;
  for (const one of [first, second]) await apply([["put", "vault", "default/s", { one, body }]]);
  await fill(1_000);
  await index.close();
  await ofVersion2(folder);
  await opened();
  // This moves the document that was the newest one.
  await apply([["put", "vault", "default/s", { one: third, body }]]);
  await kv.compact();
  expect(await found(tokens)).toBe(3);
  await apply([["evict", "vault", "default/s"]]);
  expect(await index.purgeEvictions(ENOUGH)).toEqual({ txId: position, held: undefined });
  expect(await found(tokens)).toBe(0);
});

it(
  "an index purges evicted documents with their history and all values of their fields, even of fields that are no longer indexed",
  { tags: "rest/slow" },
  async () => {
    const tokens = Array.from({ length: 6 }, token);
    const [one = "", two = "", three = "", four = "", body = "", removed = ""] = tokens;
    await apply([["configure", { indexes: { vault: ["one", "two"], other: ["one"] } }]]);
    await fill(4_000);
    for (const bucket of ["zoo", "zoo"]) await fill(4_000, bucket);
    await apply([["put", "vault", "default/s", { one, two, body }]]);
    await fill(4_000, "other");
    await apply([["put", "vault", "default/s", { one: three, two, body: removed }]]);
    await apply([["configure", { indexes: { vault: ["one"], other: ["one"] } }]]);
    await apply([["put", "vault", "default/s", { one: four }]]);
    await kv.compact();
    expect(await found(tokens)).toBe(6);
    await apply([["evict", "vault", "default/s"]]);
    expect(await found(tokens)).toBe(6);
    expect((await index.evictions(10)).evictions[0]?.files).toEqual({
      goneSince: null,
      waitsFor: "compaction",
    });
    const { digest } = (await index.digest()) ?? {};

    expect(await index.purgeEvictions(ENOUGH)).toEqual({ txId: position, held: undefined });
    expect(await found(tokens, (name) => !name.startsWith("MANIFEST"))).toBe(0);
    // The last rows of some tables were counts of values. Which documents had these values is unknown, so the eviction is
    // reported as waiting for a restart.
    expect((await index.evictions(10)).evictions[0]?.files).toEqual({ goneSince: null, waitsFor: "restart" });
    const copy = path.join(folder, "copy");
    await index.rows.capture(copy);
    await (await levelProvider().open(copy)).close();
    expect(await found(tokens, (name) => name.startsWith("copy/"))).toBe(0);

    await index.close();
    await rm(copy, { recursive: true });
    await opened();
    expect(await index.purgeEvictions(ENOUGH)).toEqual({ txId: position, held: undefined });
    expect(await found(tokens)).toBe(0);
    expect((await index.evictions(10)).evictions[0]?.files).toEqual({
      goneSince: expect.any(String) as string,
      waitsFor: null,
    });
    expect((await index.digest())?.digest).toBe(digest);
  },
);

it(
  "an index purges evicted documents that have rows of their own, of every version",
  { tags: "rest/slow" },
  async () => {
    const tokens = Array.from({ length: 4 }, token);
    await apply([["configure", { history: { vault: { keep: 10 } } }]]);
    const body = randomBytes(1_000).toString("base64");
    const fillUp = async (): Promise<void> => {
      for (let n = 0; n < 6_000; n += 500)
        await apply(
          Array.from({ length: 500 }, (_, at) => [
            "put",
            "vault",
            `default/o-${n + at}`,
            { body: randomBytes(800).toString("base64") },
          ]),
        );
    };
    await fillUp();
    for (const one of tokens) {
      await apply([["put", "vault", "default/s", { one, body }]]);
      // The documents that follow fill a table.
      await fillUp();
    }
    await kv.compact();
    expect(await found(tokens)).toBe(4);
    await apply([["evict", "vault", "default/s"]]);
    expect((await allRows(kv, rowsOfKind(ROW.erasure))).length).toBe(4);
    await index.close();
    await opened();
    expect(await index.purgeEvictions(ENOUGH)).toEqual({ txId: position, held: undefined });
    expect(await found(tokens)).toBe(0);
    expect(await allRows(kv, rowsOfKind(ROW.erasure))).toEqual([]);
  },
);

it("an index purges what a bound had removed completely before the key was evicted", async () => {
  const secret = token();
  await apply([["configure", { history: { vault: { for: "PT0.1S" } } }]]);
  await apply([["put", "vault", "default/s", { secret }]], [["delete", "vault", "default/s"]]);
  const key = { bucket: "vault", namespace: "default", name: "s" };
  while ((await index.history(key, 10)).versions.length > 0) {
    await apply(
      ...Array.from({ length: 256 }, (_, n): TxOperation[] => [["put", "vault", "default/other", n]]),
    );
  }
  expect(await found([secret])).toBe(1);
  await apply([["evict", "vault", "default/s"]]);
  expect((await index.evictions(10)).evictions).toMatchObject([
    { ...key, txId: position, files: { goneSince: null } },
  ]);
  expect(await index.purgeEvictions(ENOUGH)).toEqual({ txId: position, held: undefined });
  expect(await found([secret])).toBe(0);
});

it("after reopening, an index purges evictions that were not purged before it was closed", async () => {
  const secret = token();
  await apply([["put", "vault", "default/s", secret]], [["evict", "vault", "default/s"]]);
  await index.close();
  await opened();
  expect(await found([secret])).toBe(1);
  await index.purgeEvictions(ENOUGH);
  expect(await found([secret])).toBe(0);
  const marks = await readPurgeMarks(kv);
  expect(marks).toEqual([{ txId: position, at: expect.any(Number) as number }]);
  // A second run does nothing.
  await index.close();
  await opened();
  expect(await index.purgeEvictions(ENOUGH)).toEqual({ txId: position, held: undefined });
  expect(await readPurgeMarks(kv)).toEqual(marks);
});

it("an index purges many evictions in parts, each with its own mark", { tags: "rest/slow" }, async () => {
  const count = 10_500;
  const keys = Array.from({ length: count }, (_, at) => `default/s-${at}`);
  const secrets = keys.map(token);
  const parts = [keys.slice(0, 4_000), keys.slice(4_000, 8_000), keys.slice(8_000)];
  let at = 0;
  for (const part of parts) await apply(part.map((key) => ["put", "vault", key, secrets[at++] ?? ""]));
  for (const part of parts) await apply(part.map((key) => ["evict", "vault", key]));
  await index.purgeEvictions(ENOUGH);
  expect((await readPurgeMarks(kv)).map(({ txId }) => txId)).toEqual([position - 1, position]);
  expect(await found(secrets.filter((_, n) => n % 500 === 0))).toBe(0);
});

it("an index reports evictions blocked by a read, and an unknown state if the store cannot purge", async () => {
  await apply([["put", "vault", "default/s", token()]]);
  const reading = kv.snapshot();
  await apply([["evict", "vault", "default/s"]]);
  expect(await index.purgeEvictions({ withinMs: 50 })).toEqual({ txId: 0, held: "read" });
  expect((await index.evictions(10)).evictions[0]?.files.waitsFor).toBe("reads");
  await reading.close();
  await index.close();

  await opened(
    (store) => new Proxy(store, { get: (of, name) => (name === "purge" ? undefined : bound(of, name)) }),
  );
  expect(await index.purgeEvictions(ENOUGH)).toEqual({ txId: 0, held: "unknown" });
  expect((await index.evictions(10)).evictions[0]?.files.waitsFor).toBe("unknown");
});

it("a list of the past that was refused, because its history was removed, does not block a purge", async () => {
  const secret = token();
  await apply(
    [["configure", { history: { vault: { for: "PT1S" } } }]],
    [["put", "vault", "default/gone", 1]],
    [["delete", "vault", "default/gone"]],
    // The deletion is swept once a thousand transactions have followed.
    ...Array.from({ length: 1_300 }, (_, n): TxOperation[] => [["put", "other", "default/n", n]]),
    [["put", "vault", "default/s", secret]],
  );
  const refused = index.list({ bucket: "vault", limit: 10, asOf: { txId: 3 } });
  await expect(refused).rejects.toMatchObject({ code: "WATCH_COMPACTED" });
  await apply([["evict", "vault", "default/s"]]);
  expect(await index.purgeEvictions(ENOUGH)).toEqual({ txId: position, held: undefined });
  expect(await found([secret])).toBe(0);
});

function bound(store: KvStore, name: string | symbol): unknown {
  const value: unknown = Reflect.get(store, name);
  return typeof value === "function" ? (value.bind(store) as unknown) : value;
}
