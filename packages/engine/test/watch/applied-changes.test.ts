import { memoryProvider } from "@cairn/kv";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { AnyOperation, Json, Transaction } from "@cairn/client";
import { WatchReader } from "@cairn/test-support/nodes/watch-reader";
import { IndexStore } from "../../src/index/index-store.ts";
import { WatchFeed } from "../../src/watch/watch-feed.ts";
import type { WatchQuery } from "../../src/watch/watch-event.ts";
import { watch } from "../../src/watch/watch-session.ts";
import { indexChanges, type WatchSource } from "../../src/watch/watch-source.ts";
import { encodeTransaction } from "../../src/transactions/transaction-codec.ts";
import { empty, messagesOf } from "../index/support/cut-log.ts";

const IGNORED = { opened: () => {}, closed: () => {}, cutOff: () => {} };

/** An index, and the feed of its watches. */
class Watched {
  readonly index: IndexStore;
  readonly feed: WatchFeed;
  /** The transactions after which the feed read the index. */
  readonly reads: number[] = [];
  readonly errors: unknown[] = [];

  private constructor(index: IndexStore) {
    this.index = index;
    const log = { bounds: () => Promise.reject(new Error("not asked")) };
    const source = indexChanges(index, log, (error) => this.errors.push(error));
    const { newest } = source;
    const counted: WatchSource = Object.defineProperty(source, "newest", {
      value: async (query: Parameters<typeof newest>[0]) => {
        this.reads.push(query.after);
        return await newest(query);
      },
    });
    this.feed = new WatchFeed(counted, { ...IGNORED, failed: (error) => this.errors.push(error) });
  }

  static async open(): Promise<Watched> {
    const index = await IndexStore.open(await memoryProvider().open("/nonexistent/in-memory"), empty);
    await index.apply(messagesOf([]));
    return new Watched(index);
  }

  /** Opens a watch, and waits until the feed has it. */
  async live(query: WatchQuery = {}): Promise<WatchReader & { readonly first: Promise<string[]> }> {
    const before = this.feed.watchers;
    const reader = new WatchReader((asked) => watch(asked, () => this.feed), query);
    const first = reader.transactions(1);
    await vi.waitUntil(() => this.feed.watchers === before + 1);
    return Object.assign(reader, { first });
  }

  async apply(...transactions: Transaction<AnyOperation>[]): Promise<void> {
    const { txId } = this.index.state;
    const messages = transactions.map((one, at) => ({
      position: txId + 1 + at,
      time: 2_000 + txId + at,
      payload: encodeTransaction(one, "log-1"),
    }));
    await this.index.apply(messages);
    this.feed.advanced();
  }
}

let watched: Watched;
beforeEach(async () => {
  watched = await Watched.open();
});
afterEach(async () => {
  watched.feed.end({ reason: "stopping", message: "The test is over." });
  await watched.feed.idle();
  await watched.index.close();
  if (watched.errors.length > 0) throw new AggregateError(watched.errors, "The feed failed.");
});

function put(key: string, value: Json = 1): AnyOperation {
  return ["put", "pods", key, value];
}

describe("watchers at the end of the index", () => {
  it("are fed without reading it, each what it watches, whatever a batch contains", async () => {
    await using all = await watched.live();
    await using some = await watched.live({ bucket: "pods", namespace: "b" });
    await watched.apply(
      { ops: [put("a/x", 1)] },
      { ops: [put("b/x", 2), ["put", "nodes", "b/x", 0], put("a/x", 3)] },
      { ops: [["delete", "pods", "b/x"]] },
      { ops: [["match", "pods", "b/x", 3], put("b/never")] },
      { ops: [put("b/x", 4)] },
    );
    await watched.apply({ ops: [["delete", "pods", "none"]] }, { ops: [put("b/y", 5)] });
    const own = [
      "2: put pods a/x 1",
      "3: put pods b/x 2, put nodes b/x 0, put pods a/x 3",
      "4: delete pods b/x",
      "6: put pods b/x 4",
      "8: put pods b/y 5",
    ];
    expect([...(await all.first), ...(await all.transactions(4))]).toEqual(own);
    expect([...(await some.first), ...(await some.transactions(3))]).toEqual([
      "3: put pods b/x 2",
      ...own.slice(2),
    ]);
    expect(watched.reads).toEqual([]);
  });

  it("are fed from it after an eviction, and then without reading it again", async () => {
    await using all = await watched.live();
    await watched.apply({ ops: [put("a/x")] });
    await all.first;
    await watched.apply({ ops: [["evict", "pods", "a/x"]] });
    expect(await all.transactions(1)).toEqual(["3: evict pods a/x"]);
    for (const name of ["y", "z"]) {
      await watched.apply({ ops: [put(`a/${name}`)] });
      await all.transactions(1);
    }
    expect(watched.reads).toEqual([2]);
  });

  it("are fed from it if more was applied than is kept, and miss nothing", async () => {
    await using all = await watched.live();
    const document = "x".repeat(500_000);
    await watched.apply(
      ...Array.from({ length: 20 }, (_, n): Transaction<AnyOperation> => ({
        ops: [put(`a/${n}`, document)],
      })),
    );
    const told = [...(await all.first), ...(await all.transactions(19))];
    expect(told).toEqual(
      Array.from({ length: 20 }, (_, n) => `${n + 2}: put pods a/${n} ${JSON.stringify(document)}`),
    );
    expect(watched.reads[0]).toBe(1);
    await watched.apply({ ops: [put("a/last")] });
    expect(await all.transactions(1)).toEqual(["22: put pods a/last 1"]);
  });

  it("are the only ones for whom anything is kept", async () => {
    const read = () =>
      watched.index.changes.read({ after: 1, maxTransactions: 9, maxBytes: 9_999 }, watched.index.state);
    {
      await using all = await watched.live();
      await watched.apply({ ops: [put("a/x")] });
      await all.first;
      expect(read()?.transactions).toHaveLength(1);
    }
    await watched.feed.idle();
    expect(read()).toBeUndefined();
    await watched.apply({ ops: [put("a/y")] });
    expect(read()).toBeUndefined();
  });
});
