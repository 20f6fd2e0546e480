import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { closing, levelProvider } from "@cairn/kv";
import { commitSeed } from "@cairn/kv/testing";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { AnyOperation, Transaction } from "@cairn/client";
import { IndexStore } from "../../../src/index/index-store.ts";
import { openIndex } from "../../../src/index/local-index.ts";
import { allRows } from "../../../src/index/rows/row-cursor.ts";
import { documentRowKey, ROW } from "../../../src/index/rows/row-keys.ts";
import { upgradeIndex } from "../../../src/index/upgrade/upgrade-index.ts";
import { ofNextVersion, ofVersion2 } from "../../../testing/index-version.ts";
import { empty, messagesOf } from "../support/cut-log.ts";
import { transaction } from "../support/transactions-arbitrary.ts";

const SEED = commitSeed();
const provider = levelProvider();
const LARGE = "é".repeat(200);

describe("an upgrade of an index", () => {
  let dir = "";
  beforeEach(async () => {
    dir = path.join(await mkdtemp(path.join(tmpdir(), "cairn-upgrade-")), "index");
  });
  afterEach(async () => await rm(path.dirname(dir), { recursive: true }));

  /** Returns the rows as they are stored, except those that only an eviction in this version leaves. */
  const rowsOf = async (): Promise<string[]> =>
    await closing(await provider.open(dir), async (kv) =>
      (await allRows(kv, {}))
        .filter(([key]) => key[0] !== ROW.erasure)
        .map((row) => row.map((bytes) => Buffer.from(bytes).toString("latin1")).join(" ")),
    );

  const build = async (transactions: readonly Transaction<AnyOperation>[]): Promise<void> => {
    await rm(dir, { recursive: true, force: true });
    await closing(await IndexStore.open(await provider.open(dir), empty), async (index) => {
      await index.apply(messagesOf(transactions));
    });
  };
  const versionError = async (): Promise<string> =>
    await openIndex(provider, dir).then(
      async ({ kv }) => {
        await kv.close();
        return "readable";
      },
      (error: unknown) => (error as { code: string }).code,
    );

  it(
    `leaves the rows that this version writes, whatever the transactions (seed ${SEED})`,
    { tags: "rest/slow" },
    async () => {
      let separated = 0;
      const enlarged = transaction.map((one) => ({ ...one, ops: one.ops.map((op) => withText(op)) }));
      await fc.assert(
        fc.asyncProperty(fc.array(enlarged, { minLength: 1, maxLength: 30 }), async (transactions) => {
          await build(transactions);
          const built = await rowsOf();
          separated += built.filter((row) => row.startsWith("w")).length;
          await ofVersion2(dir);
          expect((await rowsOf()).filter((row) => row.startsWith("w"))).toEqual([]);
          await upgradeIndex(provider, dir);
          expect(await rowsOf()).toEqual(built);
        }),
        { numRuns: 25, seed: SEED },
      );
      expect(separated).toBeGreaterThan(40);
    },
  );

  it("can be made on what an interrupted one left, and is not usable before its end", async () => {
    await build(puts(3_000));
    const built = await rowsOf();
    await ofVersion2(dir);
    const stopped = new AbortController();
    const reason = new Error("stopped");
    const progress: number[] = [];
    const upgrading = upgradeIndex(provider, dir, {
      signal: stopped.signal,
      onProgress: (done, total) => {
        progress.push(done / total);
        stopped.abort(reason);
      },
    });
    await expect(upgrading).rejects.toBe(reason);
    expect(progress).toContain(1);
    expect(await versionError()).toBe("INDEX_VERSION");
    await upgradeIndex(provider, dir);
    expect(await rowsOf()).toEqual(built);
    expect(await versionError()).toBe("readable");
  });

  it("refuses a damaged index, and one of a later version", async () => {
    await build(puts(10));
    await ofVersion2(dir);
    const key = documentRowKey("pods", "default/a1");
    await closing(await provider.open(dir), async (kv) => {
      const value = Buffer.from((await kv.get(key)) ?? []);
      value.write("x", value.length - 10);
      await kv.batch([{ type: "put", key, value }]);
    });
    await expect(upgradeIndex(provider, dir)).rejects.toMatchObject({ code: "INDEX_CORRUPT" });
    await build(puts(10));
    await ofNextVersion(dir);
    await expect(upgradeIndex(provider, dir)).rejects.toMatchObject({ code: "INDEX_VERSION" });
  });
});

function puts(count: number): Transaction<AnyOperation>[] {
  return Array.from({ length: count }, (_, n) => ({
    ops: [["put", "pods", `a${n % 7}`, { n, text: LARGE }]],
  }));
}

/** Makes the documents so large that most of them have rows of their own. */
function withText(op: AnyOperation): AnyOperation {
  return op[0] === "put" ? ["put", op[1], op[2], { value: op[3], text: LARGE }] : op;
}
