import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { memoryProvider } from "@cairn/kv";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { IndexStore } from "../../../src/index/index-store.ts";
import { emptyState } from "../../../src/index/rows/index-state.ts";
import type { LogIdentity } from "../../../src/log/log-identity.ts";
import { anchorOf } from "../../../src/log/anchor.ts";
import type { BirthRecord } from "../../../src/transactions/birth-record.ts";
import {
  decodeMessage,
  encodeBirthRecord,
  encodeTransaction,
} from "../../../src/transactions/transaction-codec.ts";
import type { LogMessage } from "../../../src/log/tx-log.ts";

let folder = "";
let counter = 0;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-continued-"));
});
afterAll(async () => await rm(folder, { recursive: true, force: true }));

function identity(birth: BirthRecord, name: string): LogIdentity {
  return { id: birth.log, name, bounds: { first: 1, last: 1 }, birth };
}

/**
 * Returns a birth record and puts of `values` to one key. The puts have ids, so that ids of the older log are known in
 * the newer one.
 */
function messages(birth: BirthRecord, values: readonly number[], time: number): LogMessage[] {
  const payloads = values.map((value) =>
    encodeTransaction({ ops: [["put", "pods", "default/a", value]], id: `id-${value}` }, birth.log),
  );
  return [encodeBirthRecord(birth), ...payloads].map((payload, index) => ({
    position: index + 1,
    time: time + index,
    payload,
  }));
}

const OLD: BirthRecord = { log: "old", offset: 0 };
const before = messages(OLD, [1, 2, 3], 1_000);
const [, , third = before[0]] = before;
if (third === undefined) throw new Error("no message");
/** The new log continues after the old log's third message. */
const continues = { log: "old", anchor: { txId: 3, sha256: anchorOf(third).sha256 } };
const NEW: BirthRecord = { log: "new", offset: 3, deliberate: true, continues };

async function indexOf(
  runs: readonly (readonly LogMessage[])[],
  of = identity(OLD, "old-name"),
): Promise<IndexStore> {
  const index = await IndexStore.open(
    await memoryProvider().open(path.join(folder, String((counter += 1)))),
    emptyState(of),
  );
  for (const run of runs) await index.apply(run);
  return index;
}

describe("an index whose log is continued by another one", () => {
  it("continues as the new log's index, with later transaction ids, however the messages are divided", async () => {
    // The id 3 is not a duplicate, because the new log does not continue after the old log's fourth message. The id 2
    // was applied before.
    const after = messages(NEW, [3, 2, 4], 500);
    const digests = new Set<string>();
    for (const cut of [1, 2, 4]) {
      const index = await indexOf([
        before.slice(0, 3),
        after.slice(0, cut),
        ...(cut < 4 ? [after.slice(cut)] : []),
      ]);
      expect(index.state).toMatchObject({ txId: 7, log: { id: "new", offset: 3 }, documents: 1 });
      const found = await index.history({ bucket: "pods", namespace: "default", name: "a" }, 10);
      expect(found.versions.map(({ revision, json }) => [revision, json])).toEqual([
        [7, "4"],
        [5, "3"],
        [3, "2"],
        [2, "1"],
      ]);
      expect(await index.outcome(6)).toMatchObject({ duplicateOf: 3, committed: true });
      // The new log's clock is behind, and times never go backwards.
      expect(await index.outcome(7)).toMatchObject({ txTime: new Date(1_002).toISOString() });
      digests.add((await index.digest())?.digest ?? "");
      await index.close();
    }
    expect(digests.size).toBe(1);
  });

  it("adopts the new log's name when it is opened for that log", async () => {
    const kv = await memoryProvider().open(path.join(folder, "name"));
    await (await IndexStore.open(kv, emptyState(identity(OLD, "old-name")))).apply(before.slice(0, 3));
    const index = await IndexStore.open(kv, emptyState(identity(NEW, "new-name")));
    expect(index.state.log).toEqual({ id: "old", name: "new-name", offset: 0 });
    await index.apply(messages(NEW, [4], 2_000));
    expect(index.state.log).toEqual({ id: "new", name: "new-name", offset: 3 });
    await index.close();
  });

  const elsewhere: [string, readonly LogMessage[], LogIdentity?][] = [
    ["behind it", before],
    ["before it", before.slice(0, 2)],
    ["there in a different history", messages(OLD, [1, 99], 1_000)],
    [
      "there in another log",
      messages({ log: "other", offset: 0 }, [1, 2], 1_000),
      identity({ log: "other", offset: 0 }, "x"),
    ],
    ["nowhere, being empty", [], identity(NEW, "x")],
  ];
  it.each(elsewhere)("applies nothing of the new log when the index ends %s", async (_, held, of) => {
    const index = await indexOf(held.length === 0 ? [] : [held], of);
    const state = index.state;
    await expect(index.apply(messages(NEW, [5], 2_000))).rejects.toMatchObject({ code: "LOG_DIFFERENT" });
    expect(index.state).toEqual(state);
    await index.close();
  });

  it.each([
    ["of its own log, as a server that did not notice the new one delivers them", OLD],
    ["of its own log without the birth record", undefined],
  ])("applies no messages from the beginning %s", async (_, birth) => {
    const index = await indexOf([before.slice(0, 3)]);
    const state = index.state;
    const delivered = birth === undefined ? before.slice(1) : messages(birth, [1, 2, 3], 1_000);
    await expect(index.apply(delivered)).rejects.toMatchObject({
      code: "LOG_DIFFERENT",
      message: expect.stringMatching(
        /^Message [12] of the log old .* in place of the one with transaction 4\./,
      ),
    });
    expect(index.state).toEqual(state);
    expect(await index.outcome(2)).toMatchObject({ committed: true });
    await index.close();
  });

  it("is not begun by a birth record with an incomplete continuation", () => {
    const broken = { ...NEW, offset: 4 };
    expect(decodeMessage(encodeBirthRecord(NEW))).toMatchObject({ kind: "birth", birth: NEW });
    expect(decodeMessage(encodeBirthRecord(broken)).kind).toBe("unreadable");
  });
});
