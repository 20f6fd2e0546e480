import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import type { Transaction, TxOperation } from "@cairn/client";
import { CairnError, levelProvider } from "@cairn/kv";
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { dbDirLayout, IndexDirectory } from "../../../src/db-dir/index-directory.ts";
import { IndexStore } from "../../../src/index/index-store.ts";
import { openIndex } from "../../../src/index/local-index.ts";
import { indexRows } from "../../../src/index/rows/index-rows.ts";
import { emptyState } from "../../../src/index/rows/index-state.ts";
import { submissionRowKey } from "../../../src/index/rows/row-keys.ts";
import { OrphanCount } from "../../../src/join/orphan-count.ts";
import { comparedWith, historyOfLog, historyOfRows } from "../../../src/join/same-transactions.ts";
import { historyOfOrphans, orphanTransactions } from "../../../src/join/orphan-transactions.ts";
import type { LogMessage } from "../../../src/log/tx-log.ts";
import { encodeBirthRecord, encodeTransaction } from "../../../src/transactions/transaction-codec.ts";

const birth = { log: "log-1", offset: 0 };
const provider = levelProvider();
/** The birth record and one more message are in all histories. */
const SHARED = 2;

let dbDir = "";
let time = 0;
beforeEach(async () => {
  dbDir = await mkdtemp(path.join(tmpdir(), "cairn-same-"));
  time = 1;
});
afterEach(async () => await rm(dbDir, { recursive: true, force: true }));

const put = (n: number): Transaction => ({ ops: [["put", "pods", "default/hot", { n }]] });

/** Messages without positions. Each has a time and a random part of its own. */
function messages(...transactions: readonly Transaction[]): Omit<LogMessage, "position">[] {
  return transactions.map((one) => ({ time: (time += 7), payload: encodeTransaction(one, birth.log) }));
}

const inOrder = (of: readonly Omit<LogMessage, "position">[]): LogMessage[] =>
  of.map((one, at) => ({ ...one, position: at + 1 }));

async function indexOf(dir: string, log: readonly LogMessage[]): Promise<IndexStore> {
  const identity = { id: "log-1", name: "cairn", bounds: { first: 1, last: 1 }, birth };
  const index = await IndexStore.open(indexRows(await provider.open(dir)), emptyState(identity));
  await index.apply(log);
  return index;
}

/** A log server that shifted the messages after the first of three: it lost one, and has the others one position earlier. */
async function shifted() {
  const [first, lost, ...rest] = messages(put(1), put(2), put(3), { ...put(4), id: "mine" }, put(4));
  if (first === undefined || lost === undefined) throw new Error("there are no messages");
  const head = { time: 1, payload: encodeBirthRecord(birth) };
  const before = inOrder([head, first, lost, ...rest]);
  const present = inOrder([head, first, ...rest, ...messages(put(5))]);
  const directory = await IndexDirectory.acquire(dbDir);
  onTestFinished(() => directory.release());
  const quarantine = async (log: readonly LogMessage[]): Promise<string> => {
    await (await indexOf(dbDirLayout(dbDir).live, log)).close();
    const held = { txId: log.length, shared: SHARED, comparedWith: birth.log };
    const reason = new CairnError("LOG_REGRESSED", "The log lost its end.");
    return (await directory.moveAside(reason, { holdsLost: true, held })).path;
  };
  return { before, present, lost, directory, quarantine };
}

const linesOf = async (folder: string, ...others: Parameters<typeof comparedWith>[1]) => {
  const found: string[] = [];
  const { kv, state } = await openIndex(provider, path.join(folder, "live"));
  if (state === undefined) throw new Error("there is no index");
  for await (const { one, isHeld, isIdTaken } of comparedWith(orphanTransactions(kv, state, SHARED), others))
    if (!isHeld) found.push((isIdTaken ? one.renamed : one.line) ?? "");
  await kv.close();
  return found;
};

const historyOfMessages = (log: readonly LogMessage[]) =>
  historyOfLog(
    {
      name: "cairn",
      exists: () => Promise.resolve(true),
      bounds: () => Promise.resolve({ first: 1, last: log.length }),
      fetch: (position: number) => Promise.resolve(log[position - 1]),
      async *read(from: number) {
        yield log.slice(from - 1);
      },
    },
    SHARED + 1,
    new AbortController().signal,
  );

describe("a transaction that a log holds at another position", () => {
  it("is not lost, whether the log or an index of it shows that", async () => {
    const { before, present, quarantine } = await shifted();
    const folder = await quarantine(before);
    expect(await linesOf(folder)).toHaveLength(4);
    const index = await indexOf(path.join(dbDir, "present"), present);
    onTestFinished(() => index.close());
    const byRows = await linesOf(folder, historyOfRows(index.rows, SHARED, present.length));
    expect(byRows).toHaveLength(1);
    expect(await linesOf(folder, historyOfMessages(present))).toEqual(byRows);
  });

  it("is counted as lost once, whichever indexes have it, until it was loaded", async () => {
    const { before, present, directory, quarantine } = await shifted();
    await quarantine(before);
    await quarantine([...before, { position: before.length + 1, ...messages(put(6))[0] } as LogMessage]);
    expect(await directory.countOrphans(birth.log)).toBe(9);
    const index = await indexOf(path.join(dbDir, "present"), present);
    onTestFinished(() => index.close());
    const orphans = new OrphanCount(directory, provider);
    expect(await orphans.count(index)).toBe(2);
    // The next start shows it at once.
    expect(await directory.countOrphans(birth.log)).toBe(2);

    const [folder = ""] = (await directory.readQuarantine()).map((one) => one.folder);
    const loaded: Transaction[] = [];
    for await (const [one] of historyOfOrphans(provider, path.join(folder, "live"), SHARED)()) {
      if (one !== undefined && loaded.length === 0) loaded.push({ ...put(2), id: one.id ?? "" });
    }
    const [message] = messages(...loaded);
    await index.apply([{ position: present.length + 1, ...message } as LogMessage]);
    expect(await orphans.count(index)).toBe(1);
    expect(await new OrphanCount(directory, provider).count(index)).toBe(1);
    await rm(dbDirLayout(dbDir).quarantine, { recursive: true });
    expect(await orphans.count(index)).toBe(0);
  });
});

/** A log that lost `lost`, and has instead what follows from the printed line. */
async function replaced(lost: Transaction, instead: (line: string) => Transaction) {
  const [first, end] = messages(put(1), lost);
  if (first === undefined || end === undefined) throw new Error("there is no message");
  const head = { time: 1, payload: encodeBirthRecord(birth) };
  const directory = await IndexDirectory.acquire(dbDir);
  onTestFinished(() => directory.release());
  await (await indexOf(dbDirLayout(dbDir).live, inOrder([head, first, end]))).close();
  const held = { txId: SHARED + 1, shared: SHARED, comparedWith: birth.log };
  const reason = new CairnError("LOG_REGRESSED", "The log lost its end.");
  const { path: folder } = await directory.moveAside(reason, { holdsLost: true, held });
  const [line = ""] = await linesOf(folder);
  const present = inOrder([head, first, ...messages(instead(line))]);
  const index = await indexOf(path.join(dbDir, "present"), present);
  onTestFinished(() => index.close());
  const shown = [historyOfRows(index.rows, SHARED, SHARED + 1), historyOfMessages(present)];
  return { folder, directory, index, present, shown };
}

const mine = (n: number): Transaction => ({ ...put(n), id: "mine" });

describe("a lost transaction whose id the log has given to another one", () => {
  it.each([
    ["the same key", mine(5)],
    ["another key", { ops: [["put", "pods", "default/cold", 4]], id: "mine" } as Transaction],
  ])("is lost if that one wrote %s, and can be loaded with another id", async (_, instead) => {
    const { folder, directory, index, present, shown } = await replaced(mine(4), () => instead);
    const orphans = new OrphanCount(directory, provider);
    expect(await orphans.count(index)).toBe(1);
    let line = "";
    for (const history of shown) {
      const lines = await linesOf(folder, history);
      expect(lines).toEqual([
        expect.stringMatching(/^\{"ops":\[\["put",.*"n":4.*,"id":"orphan-3-\w{32}"\}$/),
      ]);
      line = lines[0] ?? "";
    }
    const [message] = messages(JSON.parse(line) as Transaction);
    const loaded = { position: present.length + 1, ...message } as LogMessage;
    await index.apply([loaded]);
    expect(await orphans.count(index)).toBe(0);
    expect(await new OrphanCount(directory, provider).count(index)).toBe(0);
    const rows = historyOfRows(index.rows, SHARED, loaded.position);
    for (const history of [rows, historyOfMessages([...present, loaded])])
      expect(await linesOf(folder, history)).toEqual([]);
  });

  it("is lost if the log refused to load it with that id", async () => {
    const { folder, present } = await replaced(mine(4), () => mine(5));
    const refused = { position: present.length + 1, ...messages(mine(4))[0] } as LogMessage;
    expect(await linesOf(folder, historyOfMessages([...present, refused]))).toEqual([
      expect.stringMatching(/"n":4.*"id":"orphan-3-/),
    ]);
  });

  it("is lost if a later loss took that one as well, and both are counted and printed", async () => {
    const { folder, index } = await replaced(mine(4), () => mine(5));
    const older = historyOfOrphans(provider, path.join(folder, "live"), SHARED);
    const lines: string[] = [];
    for await (const { one, isIdTaken } of comparedWith(orphanTransactions(index.rows, index.state, SHARED), [
      older,
    ]))
      lines.push((isIdTaken ? one.renamed : one.line) ?? "");
    expect(lines).toEqual([expect.stringMatching(/"n":5.*"id":"orphan-3-/)]);
    expect(await linesOf(folder)).toEqual([expect.stringMatching(/"n":4.*"id":"mine"/)]);
  });

  it.each(["submitted again", "loaded"])(
    "is not lost if it was %s, even once the index has forgotten its content",
    async (how) => {
      const event: TxOperation = ["event", { object: "pods/hot", reason: "Begun" }];
      const lost: Transaction = { ops: [...put(4).ops, event], id: "mine" };
      const { folder, directory, index, shown } = await replaced(lost, (line) =>
        how === "loaded" ? (JSON.parse(line) as Transaction) : lost,
      );
      for (const history of shown) expect(await linesOf(folder, history)).toEqual([]);
      expect(await new OrphanCount(directory, provider).count(index)).toBe(0);
      await index.rows.batch([{ type: "del", key: submissionRowKey("mine") }]);
      expect(await linesOf(folder, historyOfRows(index.rows, SHARED, SHARED + 1))).toEqual([]);
    },
  );
});
