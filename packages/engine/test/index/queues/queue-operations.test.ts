import { type KvReader, type KvStore, memoryProvider } from "@cairn/kv";
import { afterEach, expect, it } from "vitest";
import type { Policies, AnyOperation } from "@cairn/client";
import { IndexStore } from "../../../src/index/index-store.ts";
import { checkRows } from "../../../src/index/inspect/check-rows.ts";
import { LargestRead } from "../support/largest-read.ts";
import { readEntry, readOpenEntries, readQueue } from "../../../src/index/read/queue-reads.ts";
import { readChanges } from "../../../src/index/read/transaction-changes.ts";
import { placeRowKey } from "../../../src/index/rows/queue-rows.ts";
import type { LogMessage } from "../../../src/log/tx-log.ts";
import {
  decodeMessage,
  encodeBirthRecord,
  encodeTransaction,
} from "../../../src/transactions/transaction-codec.ts";
import { framed } from "../../transactions/framed.ts";
import { cut, empty } from "../support/cut-log.ts";

const TERMINAL = { state: ["done"] };
const jobs = (shards: number, cap: number, lease = 1_000): Policies => ({
  queues: { jobs: { shards, cap, terminal: TERMINAL, lease } },
});
const OPEN = { state: "new" };
const DONE = { state: "done" };
const as = (name: string) => ({ as: name });

const opened: KvStore[] = [];
afterEach(async () => {
  for (const kv of opened.splice(0)) await kv.close();
});

/** An index whose log is written one transaction at a time. */
class Scene {
  readonly messages: LogMessage[] = [];
  readonly index: IndexStore;
  readonly kv: KvStore;
  time = 0;

  private constructor(index: IndexStore, kv: KvStore) {
    this.index = index;
    this.kv = kv;
  }

  static async create(policies?: Policies): Promise<Scene> {
    const kv = await memoryProvider().open("/nonexistent/in-memory");
    opened.push(kv);
    const scene = new Scene(await IndexStore.open(kv, empty), kv);
    await scene.#append(encodeBirthRecord({ log: "log-1", offset: 0 }));
    if (policies !== undefined) await scene.commit(["configure", policies]);
    return scene;
  }

  /** Returns the reason why the transaction was aborted; undefined if it committed. */
  async reason(...ops: AnyOperation[]): Promise<string | undefined> {
    await this.#append(encodeTransaction({ ops }, "log-1"));
    return (await this.index.outcome(this.messages.length))?.reason;
  }

  /** Returns the transaction's id, which is the epoch of what it claims. */
  async commit(...ops: AnyOperation[]): Promise<number> {
    const reason = await this.reason(...ops);
    if (reason !== undefined) throw new Error(reason);
    return this.messages.length;
  }

  async shard(shard: number) {
    return (await this.index.ask(readQueue, "jobs")).queue?.shards.find((one) => one.shard === shard);
  }

  async problems(): Promise<string[]> {
    const found: string[] = [];
    for await (const { problem } of checkRows(this.kv, this.index.state)) found.push(problem);
    return found;
  }

  async #append(payload: Uint8Array): Promise<void> {
    this.messages.push({ position: this.messages.length + 1, time: this.time, payload });
    await this.index.apply(this.messages.slice(-1));
  }
}

/** Expects that an index has the same content if the messages are applied in batches of any of these lengths. */
async function expectSameInBatches(
  { index, messages }: Scene,
  batches: readonly (readonly number[])[],
): Promise<void> {
  const digest = await index.digest();
  for (const lengths of batches) {
    const kv = await memoryProvider().open("/nonexistent/in-memory");
    opened.push(kv);
    const other = await IndexStore.open(kv, empty);
    for (const run of cut(messages, lengths)) await other.apply(run);
    expect(await other.digest()).toEqual(digest);
    expect(await other.chains()).toEqual(await index.chains());
  }
}

it("each refusal names the queue and the reason", async () => {
  const scene = await Scene.create(jobs(3, 2));
  const refusals = async (...all: (readonly [AnyOperation, string])[]): Promise<void> => {
    for (const [op, reason] of all) expect(await scene.reason(op)).toBe(`CONFLICT: ${reason}`);
  };
  await refusals(
    [["claim", "pods", 0, as("a")], "pods is not a queue"],
    [["put", "pods", "a", 1, { epoch: 2 }], "pods is not a queue"],
    [["claim", "jobs", 3, as("a")], "jobs has no shard 3"],
    [["put", "jobs", "default/x", OPEN], "jobs has no shard default"],
    [["put", "jobs", "00/x", OPEN], "jobs has no shard 00"],
    [["put", "jobs", "0/x", OPEN], "jobs shard 0 is spare"],
    [["drain", "jobs", 0, as("a")], "jobs shard 0 is spare"],
    [["renew", "jobs", 0, 2], "jobs shard 0 is spare"],
  );
  const epoch = await scene.commit(["claim", "jobs", 0, as("a")], ["put", "jobs", "0/x", OPEN]);
  const until = `until 1970-01-01T00:00:01.000Z`;
  await refusals(
    [["claim", "jobs", 0, as("a")], `jobs shard 0 is directed by "a", epoch ${epoch}, ${until}`],
    [["renew", "jobs", 0, epoch - 1], `jobs shard 0 epoch ${epoch - 1} was fenced by ${epoch}`],
    [["renew", "jobs", 0, epoch + 1], `jobs shard 0 has no epoch ${epoch + 1}`],
    [["retire", "jobs", 0, epoch], "jobs shard 0 is active"],
    [["renew", "jobs", 0, { epoch, as: "b" }], `jobs shard 0 epoch ${epoch} belongs to "a"`],
    [["move", "jobs", "0/x", 1, { epoch, as: "b" }], `jobs shard 0 epoch ${epoch} belongs to "a"`],
    [["put", "jobs", "0/x", OPEN, { epoch, as: "b" }], `jobs shard 0 epoch ${epoch} belongs to "a"`],
    [["delete", "jobs", "0/x", { epoch, as: "b" }], `jobs shard 0 epoch ${epoch} belongs to "a"`],
    [["move", "jobs", "0/x", 1, epoch], "jobs shard 0 is active"],
    [["enqueue", "jobs", "x", OPEN], "jobs x is in shard 0"],
    [["put", "jobs", "1/x", OPEN], "jobs x is in shard 0"],
    [["put", "jobs", "0/x", OPEN], "jobs 0/x is written only with the epoch of its shard"],
    [["delete", "jobs", "0/x"], "jobs 0/x is written only with the epoch of its shard"],
  );
  expect(await scene.reason(["enqueue", "jobs", "y", OPEN], ["put", "jobs", "0/y", OPEN])).toBe(
    "CONFLICT: jobs y is written twice",
  );
  await scene.commit(["put", "jobs", "0/y", OPEN]);
  await refusals([["put", "jobs", "0/z", OPEN], "jobs shard 0 is full (2)"]);
  const drain = await scene.commit(["drain", "jobs", 0, as("d")]);
  await refusals(
    [["renew", "jobs", 0, epoch], `jobs shard 0 epoch ${epoch} was fenced by ${drain}`],
    [["drain", "jobs", 0, as("e")], `jobs shard 0 is drained by "d", epoch ${drain}, ${until}`],
    [["retire", "jobs", 0, drain], "jobs shard 0 has 2 open"],
    [["put", "jobs", "0/z", OPEN], "jobs shard 0 is draining"],
    [["move", "jobs", "0/nothing", 1, drain], "jobs 0/nothing is absent"],
    [["move", "jobs", "0/x", 2, drain], "jobs shard 2 is spare"],
  );
  await scene.commit(["release", "jobs", 0, drain]);
  await refusals([["renew", "jobs", 0, drain], `jobs shard 0 epoch ${drain} has ended`]);
  for (const name of ["p", "q", "r", "s"]) await scene.commit(["enqueue", "jobs", name, OPEN]);
  await refusals([
    ["enqueue", "jobs", "t", OPEN],
    "jobs has no active shard below its cap (2) and no spare one",
  ]);
});

it("a queue's policy changes only where no row must change, and says what to do first", async () => {
  const scene = await Scene.create();
  await scene.commit(["put", "jobs", "0/a", 1], ["put", "jobs", "0/b", 1]);
  await scene.commit(["delete", "jobs", "0/b"]);
  const refused = async (policies: Policies, reason: string, ...ops: AnyOperation[]): Promise<void> =>
    expect(await scene.reason(...ops, ["configure", policies])).toBe(`CONFLICT: ${reason}`);
  await refused(
    jobs(3, 2),
    "jobs is not empty (documents: 1, deleted keys: 1): a queue begins in an empty bucket, so use another one or evict them",
  );
  await scene.commit(["evict", "jobs", "0/a"], ["evict", "jobs", "0/b"]);
  await refused(jobs(3, 2), "jobs is written by the transaction that changes its policy", [
    "put",
    "jobs",
    "0/a",
    1,
  ]);
  await scene.commit(["configure", jobs(3, 2)]);
  const epoch = await scene.commit(["claim", "jobs", 2, as("a")], ["put", "jobs", "2/x", OPEN]);
  await refused(jobs(2, 2), "jobs shard 2 is not spare: drain and retire it before reducing shards to 2");
  await refused(
    {},
    "jobs has shards that are not spare (1): drain and retire them before removing the queue",
  );
  await refused(
    { queues: { jobs: { shards: 3, cap: 2, terminal: { state: "over" }, lease: 1_000 } } },
    "jobs has entries (1): terminal changes only while there are none",
  );
  await scene.commit(["configure", jobs(4, 1, 5)]);
  await scene.commit(["put", "jobs", "2/x", DONE, { epoch }]);
  const drain = await scene.commit(["drain", "jobs", 2, as("d")]);
  await scene.commit(["retire", "jobs", 2, drain]);
  await scene.commit(["put", "pods", "a", 1]);
  await scene.commit(["put", "pods", "a", 2]);
  expect((await scene.index.ask(readQueue, "jobs")).queue).toMatchObject({ shards: [], spare: 4 });
  await scene.commit(["configure", {}]);
  expect(await scene.reason(["claim", "jobs", 0, as("a")])).toBe("CONFLICT: jobs is not a queue");
});

it("the policy of a queue named like a member of every object changes by the same rules", async () => {
  const policies: Policies = {
    queues: { constructor: { shards: 2, cap: 2, terminal: TERMINAL, lease: 1_000 } },
  };
  const scene = await Scene.create();
  await scene.commit(["put", "constructor", "0/a", 1]);
  expect(await scene.reason(["configure", policies])).toContain("constructor is not empty (documents: 1");
  await scene.commit(["evict", "constructor", "0/a"]);
  await scene.commit(["configure", policies]);
  await scene.commit(["enqueue", "constructor", "x", OPEN]);
  expect(await scene.reason(["configure", {}])).toContain("constructor has shards that are not spare (1)");
});

it("a claim is judged by the time of its own transaction, however long the log was idle", async () => {
  const scene = await Scene.create(jobs(1, 2, 1_000));
  const first = await scene.commit(["claim", "jobs", 0, as("a")]);
  scene.time = 999;
  expect(await scene.reason(["claim", "jobs", 0, as("b")])).toContain("directed by");
  await scene.commit(["renew", "jobs", 0, first]);
  scene.time = 1_998;
  expect(await scene.reason(["claim", "jobs", 0, as("b")])).toContain("directed by");
  scene.time = 1_999;
  // Nobody has taken the shard yet, so the director may still write.
  await scene.commit(["enqueue", "jobs", "x", OPEN]);
  await scene.commit(["put", "jobs", "0/x", DONE, { epoch: first }]);
  const second = await scene.commit(["claim", "jobs", 0, as("b")]);
  expect(await scene.reason(["put", "jobs", "0/x", OPEN, { epoch: first }])).toBe(
    `CONFLICT: jobs shard 0 epoch ${first} was fenced by ${second}`,
  );
});

it("entries go into all shards but one, each into the one with the fewest open entries", async () => {
  const scene = await Scene.create(jobs(4, 4));
  const enqueue = async (...names: string[]): Promise<readonly number[] | undefined> => {
    const txId = await scene.commit(...names.map((name) => ["enqueue", "jobs", name, OPEN] as const));
    return (await scene.index.outcome(txId))?.shards;
  };
  expect(await enqueue("a", "b")).toEqual([0, 1]);
  expect(await enqueue("c", "d", "e", "f", "g")).toEqual([2, 0, 1, 2, 0]);
  const epoch = await scene.commit(["claim", "jobs", 0, as("one")]);
  for (const name of ["a", "d"]) await scene.commit(["put", "jobs", `0/${name}`, DONE, { epoch }]);
  // Shard 0 has three entries, of which one is open; the others have two open ones each.
  expect(await enqueue("h")).toEqual([0]);
  // It is full now.
  expect(await enqueue("i", "j", "k", "l")).toEqual([1, 2, 1, 2]);
  expect((await scene.index.ask(readQueue, "jobs")).queue).toMatchObject({ spare: 1 });
  expect(await enqueue("m", "n")).toEqual([3, 3]);
  await expectSameInBatches(scene, [[], [3], [5, 1, 2]]);
});

it("one shard is kept spare while another one is drained, and used once there is no other room", async () => {
  const scene = await Scene.create(jobs(3, 2));
  await scene.commit(["enqueue", "jobs", "a", OPEN]);
  const epoch = await scene.commit(["drain", "jobs", 0, as("d")]);
  const more = await scene.commit(...["b", "c", "e"].map((name) => ["enqueue", "jobs", name, OPEN] as const));
  expect(await scene.index.outcome(more)).toMatchObject({ shards: [1, 1, 2] });
  await scene.commit(["put", "jobs", "0/a", DONE, { epoch }], ["retire", "jobs", 0, epoch]);
  while (scene.index.state.retiring !== undefined) await scene.commit(["put", "pods", "a", 1]);
  const last = await scene.commit(...["f", "g"].map((name) => ["enqueue", "jobs", name, OPEN] as const));
  expect(await scene.index.outcome(last)).toMatchObject({ shards: [2, 0] });
});

it("enqueued and moved entries are told to watchers and histories as the writes that they are, with the origin of a moved entry", async () => {
  const scene = await Scene.create(jobs(2, 3));
  const enqueued = await scene.commit(["enqueue", "jobs", "a", OPEN], ["enqueue", "jobs", "b/c", OPEN]);
  expect(await scene.index.outcome(enqueued)).toMatchObject({ shards: [0, 0] });
  const drain = await scene.commit(["claim", "jobs", 1, as("a")], ["drain", "jobs", 0, as("d")]);
  const moved = await scene.commit(["move", "jobs", "0/b/c", 1, drain]);
  const { transactions } = await scene.index.read(
    async (reader) =>
      await readChanges(reader, { after: 2, upTo: moved, maxTransactions: 100, maxBytes: 1 << 20 }),
  );
  const told = transactions.map(({ txId, changes }) => [
    txId,
    changes.map(({ op, namespace, name, json }) => `${op} ${namespace}/${name} ${json ?? ""}`),
  ]);
  expect(told).toEqual([
    [enqueued, ['put 0/a {"state":"new"}', 'put 0/b/c {"state":"new"}']],
    [moved, ["delete 0/b/c ", 'put 1/b/c {"state":"new"}']],
  ]);
  expect((await scene.index.ask(readEntry, "jobs", "b/c")).entry?.place).toEqual({
    shard: 1,
    isOpen: true,
    txId: enqueued,
    at: 1,
    moved: { from: 0, txId: moved },
  });
  const { versions } = await scene.index.history({ bucket: "jobs", namespace: "1", name: "b/c" }, 10);
  expect(versions.map(({ revision }) => revision)).toEqual([moved]);
});

it("the counters stay right when transactions without keys remove a retired shard's rows", async () => {
  const scene = await Scene.create(jobs(2, 1_000));
  const names = Array.from({ length: 300 }, (_, number) => `e${number}`);
  await scene.commit(...names.map((name) => ["enqueue", "jobs", name, OPEN] as const));
  const epoch = await scene.commit(["claim", "jobs", 0, as("a")]);
  await scene.commit(...names.map((name) => ["put", "jobs", `0/${name}`, DONE, { epoch }] as const));
  const drain = await scene.commit(["drain", "jobs", 0, as("a")]);
  const other = await scene.commit(["claim", "jobs", 1, as("b")]);
  await scene.commit(["put", "jobs", "1/x", OPEN]);
  await scene.commit(["retire", "jobs", 0, drain]);
  // 300 documents and 300 superseded versions: the third slice has only versions.
  while (scene.index.state.retiring !== undefined) await scene.commit(["renew", "jobs", 1, other]);
  expect(await scene.problems()).toEqual([]);
  expect((await scene.index.ask(readQueue, "jobs")).queue).toMatchObject({ entries: 1, open: 1, spare: 1 });
  await scene.commit(["delete", "jobs", "1/x", { epoch: other }]);
});

it("an eviction removes an entry from every shard in which it was, whichever key names it", async () => {
  for (const named of [["1/x"], ["0/x"], ["2/x"], ["0/x", "1/x"]]) {
    const scene = await Scene.create({ ...jobs(3, 3), indexes: { jobs: ["state"] } });
    const enqueued = await scene.commit(["enqueue", "jobs", "x", { state: "secret" }]);
    await scene.commit(["put", "pods", "x", 1]);
    await scene.commit(["claim", "jobs", 1, as("a")]);
    const drain = await scene.commit(["drain", "jobs", 0, as("d")]);
    await scene.commit(["move", "jobs", "0/x", 1, drain]);
    expect(await scene.reason(["evict", "jobs", "0/x"], ["enqueue", "jobs", "x", OPEN])).toBe(
      "CONFLICT: jobs x is written twice",
    );
    const evicted = await scene.commit(...named.map((key) => ["evict", "jobs", key] as const));
    for (const namespace of ["0", "1"]) {
      const key = { bucket: "jobs", namespace, name: "x" };
      expect(await scene.index.history(key, 10)).toEqual({ versions: [] });
      expect(await scene.index.get(key, { txId: enqueued })).toBeUndefined();
      const range = { bucket: "jobs", namespace, after: 0, upTo: evicted };
      const { transactions } = await scene.index.read(
        async (reader) => await readChanges(reader, { ...range, maxTransactions: 100, maxBytes: 1 << 20 }),
      );
      const change = { op: "evict", ...key, revision: evicted };
      expect(transactions.map(({ txId, changes }) => [txId, changes])).toEqual([[evicted, [change]]]);
    }
    const { evictions } = await scene.index.evictions(10);
    const listed = new Set(["1", "0", ...named.map((key) => key.slice(0, 1))]);
    expect(evictions.map(({ txId, namespace }) => [txId, namespace])).toEqual(
      [...listed]
        .toSorted()
        .toReversed()
        .map((namespace) => [evicted, namespace]),
    );
    expect((await scene.index.ask(readQueue, "jobs")).queue).toMatchObject({ entries: 0, open: 0 });
    expect(await scene.problems()).toEqual([]);
    await scene.commit(["enqueue", "jobs", "x", OPEN]);
    await scene.commit(["evict", "jobs", "0/x"]);
    await expectSameInBatches(scene, [[], [3, 1], [scene.messages.length - 3]]);
  }
});

it("an eviction removes the versions of an entry whose retired shard has lost its other rows", async () => {
  const scene = await Scene.create(jobs(2, 1_000));
  const names = Array.from({ length: 300 }, (_, number) => `e${number}`);
  await scene.commit(...names.map((name) => ["enqueue", "jobs", name, OPEN] as const));
  const epoch = await scene.commit(["claim", "jobs", 0, as("a")]);
  await scene.commit(...names.map((name) => ["put", "jobs", `0/${name}`, DONE, { epoch }] as const));
  await scene.commit(["retire", "jobs", 0, await scene.commit(["drain", "jobs", 0, as("a")])]);
  const key = { bucket: "jobs", namespace: "0", name: "e99" };
  // 300 documents, and 212 of the superseded versions.
  for (let n = 0; n < 2; n += 1) await scene.commit(["put", "pods", "a", n]);
  expect((await scene.index.history(key, 10)).versions).toHaveLength(1);
  const evicted = await scene.commit(["evict", "jobs", "0/e99"]);
  expect(await scene.index.history(key, 10)).toEqual({ versions: [] });
  expect((await scene.index.evictions(10)).evictions).toMatchObject([{ ...key, txId: evicted }]);
  expect(await scene.problems()).toEqual([]);
});

it("the rows of a retired shard go in slices of 256, whatever the batches, and reads of the past never miss them silently", async () => {
  const scene = await Scene.create(jobs(2, 1_000));
  const entries = Array.from({ length: 600 }, (_, at): AnyOperation => ["enqueue", "jobs", `e${at}`, DONE]);
  await scene.commit(...entries);
  const epoch = await scene.commit(["drain", "jobs", 0, as("d")]);
  await scene.commit(["put", "jobs", "0/e1", DONE, { epoch }], ["delete", "jobs", "0/e2", { epoch }]);
  const before = scene.messages.length;
  // 599 documents, 1 deletion, and 2 superseded versions.
  await scene.commit(["retire", "jobs", 0, epoch]);
  const left: (number | undefined)[] = [];
  for (let n = 0; n < 5; n += 1) {
    const name = n === 0 ? "e599" : `new-${n}`;
    if (n === 0)
      expect(await scene.reason(["enqueue", "jobs", name, OPEN])).toBe("CONFLICT: jobs e599 is in shard 0");
    else await scene.commit(["enqueue", "jobs", name, OPEN]);
    left.push((await scene.shard(0))?.entries);
    expect(await scene.problems()).toEqual([]);
  }
  expect(left).toEqual([343, 87, 0, undefined, undefined]);
  expect(scene.index.state.retiring).toBeUndefined();
  await expect(
    scene.index.get({ bucket: "jobs", namespace: "0", name: "e5" }, { txId: before }),
  ).rejects.toMatchObject({ code: "WATCH_COMPACTED" });
  await expect(scene.index.list({ bucket: "jobs", limit: 10, asOf: { txId: before } })).rejects.toMatchObject(
    { code: "WATCH_COMPACTED" },
  );
  await expectSameInBatches(scene, [[], [3], [1, 1, 1, 5], [before - 1, 2]]);
});

it("an inspection finds a count that differs from the rows", async () => {
  const scene = await Scene.create(jobs(2, 3));
  await scene.commit(["enqueue", "jobs", "a", OPEN]);
  expect(await scene.problems()).toEqual([]);
  await scene.kv.batch([{ type: "del", key: placeRowKey("jobs", "a") }]);
  expect(await scene.problems()).toEqual([
    "it counts 1 entries and 1 open ones, but there are 1 documents, 0 places and 1 open entries",
  ]);
});

/** Returns the error with which a transaction of this operation is refused; empty if it is not. */
function refusalOf(...op: unknown[]): string {
  try {
    encodeTransaction({ ops: [op as unknown as AnyOperation] }, "log-1");
    return "";
  } catch (error) {
    return error instanceof Error ? error.message : "";
  }
}

it("a transaction with an invalid operation on a queue cannot be submitted", () => {
  expect([
    refusalOf("claim", "jobs", 0),
    refusalOf("claim", "jobs", 1_024, { as: "a" }),
    refusalOf("claim", "jobs", 0, { as: "" }),
    refusalOf("claim", "jobs", 0, { as: "a", until: 1 }),
    refusalOf("renew", "jobs", 0, 0),
    refusalOf("enqueue", "jobs", "", 1),
    refusalOf("enqueue", "jobs", 1, 1),
    refusalOf("move", "jobs", "x", 1, 2),
    refusalOf("put", "jobs", "0/x", 1, { epoch: "2" }),
    refusalOf("delete", "jobs", "0/x", {}),
    refusalOf("delete", "jobs", "0/x", { epoch: 2, as: "" }),
    refusalOf("renew", "jobs", 0, { epoch: 0, as: "a" }),
    refusalOf("renew", "jobs", 0, { epoch: 2, as: "a", until: 1 }),
  ]).toEqual(
    [
      "claim has 4 parts, this one has 3",
      "a shard is a whole number from 0 to 1023",
      '"as" is text of 1 to 256 bytes',
      'the last part is {"as": name}',
      "an epoch is a positive integer: the id of the transaction that claimed or began to drain the shard",
      "a name has 1 to 1024 bytes of UTF-8, this one has 0",
      "the name of an entry is text",
      "the key of an entry is text: shard/name",
      "an epoch is a positive integer: the id of the transaction that claimed or began to drain the shard",
      'the last part of a write is {"epoch": number} if there is one',
      '"as" is text of 1 to 256 bytes',
      "an epoch is a positive integer: the id of the transaction that claimed or began to drain the shard",
      "an epoch is a positive integer: the id of the transaction that claimed or began to drain the shard",
    ].map((reason) => `Not a valid transaction: ops[0]: ${reason}.`),
  );
});

const sent = (...op: AnyOperation) => encodeTransaction({ ops: [op] }, "log-1", "0123456789abcdef");
const decoded = (...op: unknown[]) => decodeMessage(framed(JSON.stringify({ ops: [op] })));

it("a hold without a name is an epoch alone or in a map, and the same message to nodes of any version", async () => {
  const scene = await Scene.create(jobs(2, 2));
  const epoch = await scene.commit(["claim", "jobs", 0, as("a")], ["put", "jobs", "0/x", OPEN]);
  await scene.commit(["claim", "jobs", 1, as("a")]);
  await scene.commit(["renew", "jobs", 0, { epoch }]);
  await scene.commit(["release", "jobs", 0, { epoch }]);
  const drain = await scene.commit(["drain", "jobs", 0, as("b")]);
  await scene.commit(["move", "jobs", "0/x", 1, { epoch: drain }]);
  await scene.commit(["retire", "jobs", 0, { epoch: drain }]);
  expect(sent("renew", "jobs", 0, { epoch })).toEqual(sent("renew", "jobs", 0, epoch));
  expect(sent("move", "jobs", "0/x", 1, { epoch })).toEqual(sent("move", "jobs", "0/x", 1, epoch));
  // The reasons are those of 0.1.0, which are part of the index.
  expect([decoded("renew", "jobs", 0, { epoch }), decoded("delete", "jobs", "0/x", epoch)]).toMatchObject(
    [
      "an epoch is a positive integer: the id of the transaction that claimed or began to drain the shard",
      "delete has 3 parts, this one has 4",
    ].map((reason) => ({ kind: "unreadable", reason })),
  );
});

it("a page of open entries reads few documents more than it contains, however large they are", async () => {
  const scene = await Scene.create(jobs(1, 200));
  await scene.commit(["claim", "jobs", 0, as("d")]);
  const text = "x".repeat(200_000);
  for (let n = 0; n < 150; n += 1) await scene.commit(["enqueue", "jobs", `e${n}`, { state: "new", text }]);
  const names: string[] = [];
  let read = 0;
  let cursor: string | undefined;
  do {
    const page = await scene.index.read((reader) => {
      const counting: KvReader = {
        get: (key) => reader.get(key),
        range: (range) => reader.range(range),
        getMany: (keys) => {
          read += keys.length;
          return reader.getMany(keys);
        },
      };
      return readOpenEntries(counting, scene.index.state, { queue: "jobs", shard: 0, limit: 150, cursor });
    });
    names.push(...page.entries.map(({ document }) => document.name));
    ({ cursor } = page);
  } while (cursor !== undefined);
  expect(names).toEqual(Array.from({ length: 150 }, (_, n) => `e${n}`));
  // A page contains 42 entries, and reads 64.
  expect(read).toBeLessThan(250);
});

it("a page of open entries reads at most 16 MiB of entries at once", async () => {
  const scene = await Scene.create(jobs(1, 200));
  const text = "x".repeat(1_000_000);
  for (let n = 0; n < 30; n += 1) await scene.commit(["enqueue", "jobs", `e${n}`, { state: "new", text }]);
  const measured = new LargestRead();
  const query = { queue: "jobs", shard: 0, limit: 30 };
  const page = await scene.index.read((reader) =>
    readOpenEntries(measured.of(reader), scene.index.state, query),
  );
  expect(page.entries).toHaveLength(9);
  expect(measured.bytes).toBeLessThanOrEqual(16 * 1024 * 1024);
});

it("watches are refused only from before a removed version, also after a sweep that follows a retirement", async () => {
  const scene = await Scene.create({ ...jobs(2, 1_000), history: { jobs: { for: 1 } } });
  await scene.commit(["enqueue", "jobs", "e0", DONE]);
  const epoch = await scene.commit(["claim", "jobs", 1, as("a")]);
  await scene.commit(["put", "jobs", "1/x", DONE]);
  const deleted = await scene.commit(["delete", "jobs", "1/x", { epoch }]);
  const drain = await scene.commit(["drain", "jobs", 0, as("d")]);
  const retired = await scene.commit(["retire", "jobs", 0, drain]);
  while (scene.messages.length < 1_536) {
    scene.time += 10;
    await scene.commit(["renew", "jobs", 1, epoch]);
  }
  const { retiring, pruned, cleaned = 0 } = scene.index.state;
  expect(retiring).toBeUndefined();
  expect(cleaned).toBeGreaterThan(retired + 10);
  // The deletion was the newest version that was removed, after the entry of the retired shard.
  expect(pruned).toBe(deleted);
  expect(deleted).toBeLessThan(retired);
});
