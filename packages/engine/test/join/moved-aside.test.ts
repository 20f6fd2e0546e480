// @module-tag nats
import { readdir, readFile } from "node:fs/promises";
import path from "node:path";
import { type KvStore, memoryProvider } from "@cairn/kv";
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import type { System } from "../../src/api/system.ts";
import { IndexStore } from "../../src/index/index-store.ts";
import { emptyState } from "../../src/index/rows/index-state.ts";
import { isContainedIn } from "../../src/join/held-transactions.ts";
import type { FilledIndex } from "../../src/join/common-history.ts";
import type { LogMessage } from "../../src/log/tx-log.ts";
import type { CairnNode } from "../../src/node/node.ts";
import { encodeBirthRecord, encodeTransaction } from "../../src/transactions/transaction-codec.ts";
import { openNatsTxLog } from "@cairn/log-nats/src/nats-tx-log";
import { NatsOperator } from "@cairn/log-nats/testing";
import { ClusterScene, put } from "@cairn/test-support/nodes/cluster-scene";

/** With this many transactions in between, a newer index no longer knows the chains at the end of the older one. */
const FAR = 3_500;

/** The note of an index that the log contained up to its end, `txId`. */
const noteOf = (txId: number | undefined) => ({
  code: "LOG_TRIMMED",
  holdsLost: false,
  txId,
  shared: txId,
});

describe("an index that fell behind a trimmed log", () => {
  let scene: ClusterScene;
  beforeEach(async () => {
    scene = await ClusterScene.open();
  });
  afterEach(() => scene.close());

  /** Writes while `a` is off, and removes from the log what the next checkpoint contains. */
  async function trimAfter(b: CairnNode, transactions: number): Promise<void> {
    const submitted = Array.from({ length: transactions }, (_, n) =>
      b.submit({ ops: [["put", "others", `default/k${n % 100}`, n]] }),
    );
    await Promise.all(submitted);
    const last = await put(b, 0, 1, "last");
    expect(await b.checkpoint().done).toHaveProperty("checkpoint");
    await NatsOperator.at(scene.nats.url, async (nats) => await nats.purgeBefore(last));
  }

  async function notes(): Promise<Record<string, unknown>[]> {
    const quarantine = path.join(scene.dbDir("a"), "quarantine");
    const folders = (await readdir(quarantine)).toSorted();
    return await Promise.all(
      folders.map(async (name) => {
        const note = await readFile(path.join(quarantine, name, "why.json"), "utf8");
        return JSON.parse(note) as Record<string, unknown>;
      }),
    );
  }

  it(
    "is kept like other unusable indexes, of which there are two at most, however far behind it was",
    { tags: "rest/slow" },
    async () => {
      const b = await scene.ready("b");
      const ends: number[] = [];
      for (const transactions of [5, FAR, 5]) {
        const a = await scene.ready("a");
        ends.push(await put(a, 0, 3, "mine"));
        await scene.stop(a);
        await trimAfter(b, transactions);
      }
      const a = await scene.ready("a");
      expect((await a.status()).join).toMatchObject({ orphans: 0, movedAside: [{ code: "LOG_TRIMMED" }] });
      expect(await notes()).toMatchObject([noteOf(ends[1]), noteOf(ends[2])]);
    },
  );

  describe.each<[number, string[]]>([
    [5, []],
    [FAR, ["rest/slow"]],
  ])("and holds transactions that the log lost, of which %i others took the place", (others, tags) => {
    it("is always kept", { tags }, async () => {
      const first = await scene.ready("a");
      const shared = await put(first, 0, 3, "kept");
      await scene.copyLog();
      const end = await put(first, 3, 5, "lost");
      await scene.stop(first);
      await scene.rollBackLog();
      const b = await scene.ready("b");
      await trimAfter(b, others);
      for (let more = 0; more < 3; more += 1) {
        const a = await scene.ready("a");
        // The log no longer shows which transactions it lost, but the restored index does.
        expect((await a.status()).join.orphans).toBe(end - shared);
        await put(a, 0, 1, "mine");
        await scene.stop(a);
        await trimAfter(b, 1);
      }
      const lost = { code: "LOG_TRIMMED", holdsLost: true, txId: end, shared };
      expect(await notes()).toMatchObject([lost, { holdsLost: false }, { holdsLost: false }]);
    });
  });
});

describe("the comparison of an index with a newer one", () => {
  const opened: KvStore[] = [];
  afterEach(async () => {
    for (const kv of opened.splice(0)) await kv.close();
  });
  const birth = { log: "log-1", offset: 0 };
  const identity = { id: "log-1", name: "cairn", bounds: { first: 1, last: 1 }, birth };

  /** Returns messages of a log, whose messages from `other` on are those of another history. */
  function messages(length: number, other = Infinity): LogMessage[] {
    const payloadAt = (position: number): Uint8Array => {
      if (position === 1) return encodeBirthRecord(birth);
      if (position === 2)
        return encodeTransaction({ ops: [["configure", { outcomes: { for: 1 } }]] }, "log-1");
      const bucket = position < other ? "pods" : "others";
      return encodeTransaction({ ops: [["put", bucket, "default/k", position]] }, "log-1");
    };
    // One history is written once: each encoding of a transaction is unique.
    return Array.from({ length }, (_, at) => at + 1).map((position) => {
      const key = `${position} ${position < other}`;
      const payload = written.get(key) ?? payloadAt(position);
      written.set(key, payload);
      return { position, time: position * 1_000, payload };
    });
  }
  const written = new Map<string, Uint8Array>();

  async function indexOf(log: readonly LogMessage[], remembered = log.length): Promise<FilledIndex> {
    const kv = await memoryProvider().open("/nonexistent/in-memory");
    opened.push(kv);
    const index = await IndexStore.open(kv, emptyState(identity), remembered);
    await index.apply(log);
    return { kv, state: index.state };
  }

  it.each([
    ["a little further", 700, 1_500],
    ["as far", 700, 700],
    ["far beyond it, before its first link", 700, 4_000],
    ["far beyond it, between two links", 1_500, 5_000],
    ["far beyond it, at a link", 2_048, 6_000],
  ])("finds that it is contained in one that is %s", async (_, end, newerEnd) => {
    const index = await indexOf(messages(end));
    expect(await isContainedIn(index, await indexOf(messages(newerEnd)))).toBe(true);
  });

  it.each([
    ["its last transaction", 1_500, 1_500, 1_600],
    ["its last transaction, far behind", 1_500, 1_500, 5_000],
    ["a transaction before a link, far behind", 1_500, 900, 5_000],
  ])(
    "finds that it is not, if the other history has another message for %s",
    async (_, end, other, newerEnd) => {
      const index = await indexOf(messages(end));
      expect(await isContainedIn(index, await indexOf(messages(newerEnd, other)))).toBe(false);
    },
  );

  it("finds that it is not, if the other history has another message for one transaction alone", async () => {
    const other = messages(1_200, 1_200).slice(-1);
    const newer = messages(5_000).toSpliced(1_199, 1, ...other);
    expect(await isContainedIn(await indexOf(messages(1_500)), await indexOf(newer))).toBe(false);
  });

  it("assumes that it is not, if the other one ends earlier or no longer has the outcomes to compare", async () => {
    const index = await indexOf(messages(1_500));
    expect(await isContainedIn(index, await indexOf(messages(1_400)))).toBe(false);
    const newer = await indexOf(messages(5_000), 150);
    expect(newer.state.outcomesAfter).toBeGreaterThan(1_500);
    expect(await isContainedIn(index, newer)).toBe(false);
    // At a link, outcomes are not needed.
    expect(await isContainedIn(await indexOf(messages(1_024)), newer)).toBe(true);
  });
});

describe("an index of a log that the node began because it was given the wrong name", () => {
  const policies = { history: { "*": { keep: 3 } } };

  it.each([
    ["nothing but the policies of the configuration", policies, [], "ready"],
    ["policies that were set elsewhere", {}, [["configure", policies]], "failed"],
    ["a document", policies, [["put", "things", "default/k", 1]], "failed"],
  ] as const)("holds %s", { tags: "rest/slow" }, async (_what, configured, ops, phase) => {
    const scene = await ClusterScene.open();
    onTestFinished(() => scene.close());
    await put(await scene.ready("b"), 0, 5, "x");
    const proposed = configured === policies ? { policies } : {};
    const openTxLog: System["openTxLog"] = async ({ signal }) =>
      await openNatsTxLog({ servers: [scene.nats.url], stream: "shpo", signal });
    const astray = await scene.ready("a", { parts: { ...proposed, openTxLog } });
    if (configured === policies) await astray.await(2);
    if (ops.length > 0) await astray.await((await astray.submit({ ops: [...ops] })).txId);
    await scene.stop(astray);
    const a = await scene.start("a", { parts: proposed });
    await vi.waitFor(async () => expect((await a.status()).phase).toBe(phase), 10_000);
    expect(await readdir(path.join(scene.dbDir("a"), "quarantine")).catch(() => [])).toHaveLength(
      phase === "ready" ? 1 : 0,
    );
  });
});
