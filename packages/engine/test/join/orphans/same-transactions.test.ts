import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import type { Transaction } from "@cairn/client";
import { CairnError, levelProvider } from "@cairn/kv";
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { dbDirLayout, IndexDirectory } from "../../../src/db-dir/index-directory.ts";
import { IndexStore } from "../../../src/index/index-store.ts";
import { indexRows } from "../../../src/index/rows/index-rows.ts";
import { emptyState } from "../../../src/index/rows/index-state.ts";
import { OrphanCount } from "../../../src/join/orphan-count.ts";
import { comparedWith, historyOfLog, historyOfRows } from "../../../src/join/same-transactions.ts";
import { historyOfOrphans } from "../../../src/join/orphan-transactions.ts";
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
  const found: unknown[] = [];
  const orphans = historyOfOrphans(provider, path.join(folder, "live"), SHARED);
  const each = async function* () {
    for await (const some of orphans()) for (const one of some) yield { ...one, line: "" };
  };
  for await (const { one, isHeld } of comparedWith(each(), others)) if (!isHeld) found.push(one.mark);
  return found;
};

describe("a transaction that a log holds at another position", () => {
  it("is not lost, whether the log or an index of it shows that", async () => {
    const { before, present, quarantine } = await shifted();
    const folder = await quarantine(before);
    expect(await linesOf(folder)).toHaveLength(4);
    const index = await indexOf(path.join(dbDir, "present"), present);
    onTestFinished(() => index.close());
    const byRows = await linesOf(folder, historyOfRows(index.rows, SHARED, present.length));
    expect(byRows).toHaveLength(1);
    const log = {
      name: "cairn",
      exists: () => Promise.resolve(true),
      bounds: () => Promise.resolve({ first: 1, last: present.length }),
      fetch: (position: number) => Promise.resolve(present[position - 1]),
      async *read(from: number) {
        yield present.slice(from - 1);
      },
    };
    const { signal } = new AbortController();
    expect(await linesOf(folder, historyOfLog(log, SHARED + 1, signal))).toEqual(byRows);
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
