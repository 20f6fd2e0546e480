import { type KvStore, memoryProvider } from "@cairn/kv";
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import {
  cursorTx,
  eventsCursor,
  evictionsCursor,
  historyCursor,
  listCursor,
  openEntriesCursor,
} from "../../../src/index/read/cursor.ts";
import type { ListSelection } from "../../../src/index/read/field-query.ts";
import { NO_MARK } from "../../../src/index/rows/chain-rows.ts";

const LIST = { bucket: "pods", namespace: "default", prefix: "web-" };
const KEY = { bucket: "pods", namespace: "default", name: "web-0" };
const SHARD = { queue: "pods", shard: 3 };
/** A place whose outcome is not in the index. */
const PLACE = { txId: 3, mark: NO_MARK };
const OTHER = { code: "REQUEST_INVALID", message: "The cursor is not one of this list." };

let reader: KvStore;
beforeAll(async () => {
  reader = await memoryProvider().open("/nonexistent/in-memory");
});

describe("cursors", () => {
  it("decode to their original parts, and fit in a URL unescaped", async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(), fc.uint8Array(), async (txId, key) => {
        const place = { txId, mark: NO_MARK };
        const after = Buffer.from(key).toString("hex");
        const cursor = listCursor.encode(LIST, place, after);
        expect(encodeURIComponent(cursor)).toBe(cursor);
        expect(await listCursor.resume(reader, LIST, cursor)).toEqual({ ...place, after });
        const history = historyCursor.encode(KEY, place, 2);
        expect(await historyCursor.resume(reader, KEY, history)).toEqual({ ...place, after: 2 });
        for (const of of [evictionsCursor, eventsCursor])
          expect(await of.resume(reader, {}, of.encode({}, place, after))).toEqual({ ...place, after });
        expect([cursor, history].map(cursorTx)).toEqual([txId, txId]);
      }),
    );
  });

  it.each([
    "",
    "x",
    "e30",
    Buffer.from("[1]").toString("base64url"),
    Buffer.from('[-1,"eA"]').toString("base64url"),
  ])("such as %j are refused, since no list returned them", async (text) => {
    for (const resumed of [
      listCursor.resume(reader, LIST, text),
      historyCursor.resume(reader, KEY, text),
      openEntriesCursor.resume(reader, SHARD, text),
      evictionsCursor.resume(reader, {}, text),
      eventsCursor.resume(reader, {}, text),
    ])
      await expect(resumed).rejects.toMatchObject(OTHER);
    expect(() => cursorTx(text)).toThrow(OTHER.message);
  });

  it.each<ListSelection>([
    { ...LIST, bucket: "others" },
    { bucket: "pods", prefix: "web-" },
    { ...LIST, prefix: "web" },
    { ...LIST, from: "web-0" },
    { ...LIST, to: "web-0" },
    { ...LIST, where: { field: "state", value: "on" } },
    { ...LIST, asOf: { txId: 3 } },
  ])("of another list than %j are refused", async (other) => {
    const cursor = listCursor.encode(LIST, PLACE, "00");
    await expect(listCursor.resume(reader, other, cursor)).rejects.toMatchObject(OTHER);
  });

  it("of a range of keys are those of no other range", async () => {
    const cursor = listCursor.encode({ ...LIST, from: "a", to: "b" }, PLACE, "00");
    for (const other of [{ from: "a" }, { to: "b" }, { from: "a", to: "c" }, { from: "b", to: "a" }])
      await expect(listCursor.resume(reader, { ...LIST, ...other }, cursor)).rejects.toMatchObject(OTHER);
  });

  it("of a list without a range of keys are those of 0.1.0", () => {
    const cursor = "WyJ2UXhKenUtcmx4TE0iLHsidHhJZCI6MywibWFyayI6ImJhOTg3NjU0MzIxMCIsImFmdGVyIjoiMDAifV0";
    expect(listCursor.encode(LIST, { txId: 3, mark: "ba9876543210" }, "00")).toBe(cursor);
  });

  it("of another kind are refused", async () => {
    const origin = openEntriesCursor.encode(SHARD, PLACE, { txId: 3, at: 0 });
    const history = historyCursor.encode(KEY, PLACE, 3);
    const events = eventsCursor.encode({ bucket: "pods" }, PLACE, "1-3-0");
    for (const resumed of [
      listCursor.resume(reader, LIST, history),
      historyCursor.resume(reader, KEY, origin),
      historyCursor.resume(reader, { ...KEY, name: "web-1" }, history),
      openEntriesCursor.resume(reader, { ...SHARD, shard: 4 }, origin),
      evictionsCursor.resume(reader, {}, events),
      eventsCursor.resume(reader, {}, events),
      eventsCursor.resume(reader, { bucket: "pods", before: "2" }, events),
    ])
      await expect(resumed).rejects.toMatchObject(OTHER);
  });
});
