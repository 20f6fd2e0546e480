import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { closing, levelProvider } from "@cairn/kv";
import { commitSeed } from "@cairn/kv/testing";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { AnyOperation } from "@cairn/client";
import { IndexStore } from "../../../src/index/index-store.ts";
import { checkRows } from "../../../src/index/inspect/check-rows.ts";
import { openIndex } from "../../../src/index/local-index.ts";
import { allRows } from "../../../src/index/rows/row-cursor.ts";
import { ROW, STATE_ROW_KEY } from "../../../src/index/rows/row-keys.ts";
import { ofNextVersion, ofVersion2 } from "../../../testing/index-version.ts";
import { empty, messagesOf } from "../support/cut-log.ts";
import { transaction } from "../support/transactions-arbitrary.ts";

const SEED = commitSeed();
const provider = levelProvider();
const LARGE = "é".repeat(200);
const enlarged = transaction.map((one) => ({ ...one, ops: one.ops.map((op) => withText(op)) }));
const transactions = fc.array(enlarged, { minLength: 1, maxLength: 30 });

describe("an index of version 2", () => {
  let folder = "";
  beforeEach(async () => {
    folder = await mkdtemp(path.join(tmpdir(), "cairn-version-"));
  });
  afterEach(async () => await rm(folder, { recursive: true }));

  it(
    `has the content of this version's, and keeps it whatever is applied (seed ${SEED})`,
    { tags: "rest/slow" },
    async () => {
      let inPlace = 0;
      await fc.assert(
        fc.asyncProperty(transactions, transactions, async (before, after) => {
          const messages = messagesOf([...before, ...after]);
          const found = [];
          for (const version of [2, 3]) {
            const dir = path.join(folder, "index");
            await rm(dir, { recursive: true, force: true });
            await apply(dir, messages.slice(0, before.length + 1));
            if (version === 2) await ofVersion2(dir);
            const old = await contentOf(dir);
            await apply(dir, messages.slice(before.length + 1));
            found.push([old, await contentOf(dir)]);
            if (version === 2) inPlace += await countInPlace(dir);
          }
          expect(found[0]).toEqual(found[1]);
        }),
        { numRuns: 40, seed: SEED },
      );
      expect(inPlace).toBeGreaterThan(10);
    },
  );

  it("is read, and one of a later version is refused", async () => {
    const dir = path.join(folder, "index");
    await apply(dir, messagesOf([{ ops: [["put", "pods", "a", LARGE]] }]));
    await ofVersion2(dir);
    await closing((await openIndex(provider, dir)).kv, async () => {});
    await ofNextVersion(dir);
    await expect(openIndex(provider, dir)).rejects.toMatchObject({ code: "INDEX_VERSION" });
  });
});

async function apply(dir: string, messages: ReturnType<typeof messagesOf>): Promise<void> {
  await closing(await IndexStore.open(await provider.open(dir), empty), async (index) => {
    await index.apply(messages);
  });
}

/** Returns everything that an index says, whatever its rows are like: documents are joined with their versions. */
async function contentOf(dir: string): Promise<unknown> {
  const { kv, state } = await openIndex(provider, dir);
  if (state === undefined) throw new Error("The index is empty.");
  return await closing(await IndexStore.open(kv, state), async (index) => {
    const problems = [];
    for await (const problem of checkRows(index.rows, state)) problems.push(problem);
    const rows = (await allRows(index.rows, {}))
      .filter(([key]) => key[0] !== ROW.content && key[0] !== ROW.erasure)
      .filter(([key]) => Buffer.compare(key, STATE_ROW_KEY) !== 0)
      .map((row) => row.map((bytes) => Buffer.from(bytes).toString("latin1")).join(" "));
    const { inPlace: _, ...rest } = index.state;
    return { problems, rows, state: rest, digest: await index.digest(), chains: await index.chains() };
  });
}

/** Returns the number of large documents that are in the rows of their versions. */
async function countInPlace(dir: string): Promise<number> {
  return await closing(await provider.open(dir), async (kv) => {
    const rows = await allRows(kv, {});
    const kinds = new Set<number | undefined>([ROW.document, ROW.version]);
    return rows.filter(([key, value]) => kinds.has(key[0]) && value.length > LARGE.length).length;
  });
}

/** Makes the documents so large that most of them have rows of their own in this version. */
function withText(op: AnyOperation): AnyOperation {
  return op[0] === "put" ? ["put", op[1], op[2], { value: op[3], text: LARGE }] : op;
}
