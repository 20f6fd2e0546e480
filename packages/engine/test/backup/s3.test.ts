import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import type { CheckpointStore } from "@cairn/checkpoint";
import { systemClock } from "@cairn/kv";
import { describe, expect, it, onTestFinished } from "vitest";
import { type BackupLook, lookAtBackup } from "../../src/backup/write/backup-look.ts";
import type { BackupMemory } from "../../src/backup/write/look-results.ts";
import { BackupReader } from "../../src/backup/backup-reader.ts";
import { listBackup } from "../../src/backup/segments/segment-name.ts";
import { writeSegment } from "../../src/backup/write/write-segments.ts";
import { openEmbeddedTxLog } from "../../src/log/embedded/embedded-tx-log.ts";
import type { LogMessage, TxLog } from "../../src/log/tx-log.ts";
import { bytes, takeMessages, text } from "../../testing/log-messages.ts";
import { ALL, GET_AND_LIST, type GateRequest, s3Service } from "./s3-gate.ts";

interface OpenLog {
  readonly log: TxLog;
  readonly of: { readonly id: string; readonly name: string; readonly offset: number };
}

/** Opens an embedded log with a birth record. The log is closed at the end of the test. */
async function openLog(): Promise<OpenLog> {
  const folder = await mkdtemp(path.join(tmpdir(), "cairn-backup-s3-"));
  const log = await openEmbeddedTxLog({ path: path.join(folder, "log") });
  onTestFinished(async () => {
    await log.close();
    await rm(folder, { recursive: true });
  });
  await log.create((id) => bytes(`birth of ${id}`));
  return { log, of: { id: (await log.id()) ?? "", name: log.name, offset: 0 } };
}

/**
 * Returns a function that looks at the backup as one node and, if `append` is set, first appends a message. `aheadMs`
 * is how far the node assumes the store's clock to be ahead of its own.
 */
async function looking(store: CheckpointStore, { aheadMs, like }: { aheadMs?: number; like?: OpenLog } = {}) {
  const { log, of } = like ?? (await openLog());
  const storeClock = aheadMs === undefined ? undefined : { aheadMs, askedAt: Date.now() };
  const memory: BackupMemory = { storeClock, damaged: new Map() };
  const look = async ({ append = true } = {}): Promise<BackupLook> => {
    if (append) await log.append(bytes(`message ${Math.random()}`));
    return await lookAtBackup({
      store,
      log,
      of,
      node: "a",
      codec: "none",
      every: 60_000,
      forced: true,
      memory,
      clock: systemClock,
      signal: new AbortController().signal,
    });
  };
  return { log, of, look };
}

function kinds(asked: GateRequest[]): string[] {
  return asked.splice(0).map(({ kind }) => kind);
}

/** The segments from before a test's own looks, and these looks. Together, they are so many tiny segments that nodes merge them. */
const EARLIER = 61;
const LOOKS = 9;

/** Appends messages, and writes each message of the log to its own segment. Returns the messages. */
async function writeEarlier(
  store: CheckpointStore,
  { log, of }: OpenLog,
  count = EARLIER,
): Promise<readonly LogMessage[]> {
  await Promise.all(Array.from({ length: count - 1 }, (_, n) => log.append(bytes(`message ${n}`))));
  const messages = await takeMessages(log, 1, count);
  const { signal } = new AbortController();
  const target = { store, log, of, node: "a", codec: "none", signal, storeNow: Date.now } as const;
  for (let at = 0; at < count; at += 10) {
    const some = messages.slice(at, at + 10);
    await Promise.all(some.map((message) => writeSegment(target, undefined, [message])));
  }
  return messages;
}

describe("a log backup in S3", () => {
  describe.each<[string, boolean, string[]]>([
    ["with", true, []],
    ["without", false, ["rest/slow"]],
  ])("%s conditional writes", (_, conditions, tags) => {
    it("is written, merged and read", { tags }, async () => {
      const gate = await (await s3Service({ conditions }))(ALL);
      const store = gate.store();
      const { log, of, look } = await looking(store);
      await writeEarlier(store, { log, of });
      for (let last = EARLIER + 1; last <= EARLIER + LOOKS; last += 1)
        expect((await look()).covered).toEqual([{ first: 1, last }]);
      const { segments, lease, foreign } = await listBackup(store, of.id);
      expect(segments.length).toBeLessThan(10);
      expect([lease, foreign]).toEqual([undefined, []]);
      const reader = new BackupReader({ store: gate.store(), every: 50 });
      expect((await takeMessages(reader, 1, EARLIER + LOOKS)).map(text)).toEqual(
        (await takeMessages(log, 1, EARLIER + LOOKS)).map(text),
      );
    });
  });

  it("costs one read per look, and a listing and six requests more for a segment", async () => {
    const gate = await (await s3Service())(ALL);
    const { look } = await looking(gate.store());
    // The first look also probes what the service supports, and reads its time.
    await look();
    kinds(gate.asked);
    await look({ append: false });
    expect(kinds(gate.asked)).toEqual(["get"]);
    expect((await look()).written).toHaveLength(1);
    expect(kinds(gate.asked)).toEqual(["get", "get", "list", "put", "put", "get", "put", "delete"]);
  });

  it(
    "is written without a lease and without merges if the credentials may not delete, which is reported once",
    { tags: "rest/slow" },
    async () => {
      const gate = await (await s3Service())({ put: true, delete: false });
      const notices: string[] = [];
      const store = gate.store({ onNotice: (sentence) => notices.push(sentence) });
      const { log, of, look } = await looking(store);
      await writeEarlier(store, { log, of });
      for (let n = 0; n < LOOKS; n += 1) expect((await look()).written).toHaveLength(1);
      const { segments } = await listBackup(store, of.id);
      expect(segments).toHaveLength(EARLIER + LOOKS);
      expect(notices.filter((sentence) => sentence.includes("s3:DeleteObject"))).toHaveLength(1);
      kinds(gate.asked);
      await look();
      expect(kinds(gate.asked)).toEqual(["get", "list", "put", "get", "put"]);
      await look({ append: false });
      expect(kinds(gate.asked)).toEqual(["get"]);
      // A starting node finds the lease of the very first look, which cannot be removed.
      const other = await looking(gate.store(), { aheadMs: 100_000, like: { log, of } });
      expect((await other.look()).skipped).toBe("leased");
      expect((await other.look()).written).toHaveLength(1);
    },
  );

  it(
    "is read with permission only to read and list, in pages of ten, with one request for each segment",
    { tags: "rest/slow" },
    async () => {
      const count = 30;
      const open = await s3Service();
      const writer = (await open(ALL)).store();
      const opened = await openLog();
      const warnings: string[] = [];
      const onWarning = ({ name }: Error): unknown => warnings.push(name);
      process.on("warning", onWarning);
      onTestFinished(() => void process.off("warning", onWarning));
      const messages = await writeEarlier(writer, opened, count);
      // Many uploads that share a signal must not cause Node's warning about a leak of listeners.
      expect(warnings).not.toContain("MaxListenersExceededWarning");
      const reading = await open(GET_AND_LIST);
      const reader = new BackupReader({ store: reading.store(), every: 60_000 });
      expect(await reader.bounds()).toEqual({ first: 1, last: count });
      expect((await takeMessages(reader, 1, count)).map(text)).toEqual(messages.map(text));
      const asked = kinds(reading.asked);
      expect(asked.length).toBeLessThanOrEqual(count + 10);
      expect(new Set(asked)).toEqual(new Set(["list", "get"]));

      const paged = await open(GET_AND_LIST, 10);
      const { segments } = await listBackup(paged.store(), opened.of.id);
      expect(segments).toHaveLength(count);
      expect(paged.asked).toHaveLength(count / 10);
      await expect(reader.append()).rejects.toMatchObject({ code: "LOG_READ_ONLY" });
    },
  );
});
