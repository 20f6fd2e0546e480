import { EventEmitter, once } from "node:events";
import { Readable } from "node:stream";
import { faultyStore, type StoreFaults, unreachable } from "@cairn/checkpoint/testing";
import { systemClock } from "@cairn/kv";
import { pino } from "pino";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { missingIn } from "../../../src/backup/segments/segment-name.ts";
import { LogBackup } from "../../../src/backup/write/log-backup.ts";
import { anchorOf } from "../../../src/log/anchor.ts";
import { EventDispatcher } from "../../../src/observe/event-dispatcher.ts";
import { parseSegmentName, type SegmentFile } from "../../../src/backup/segments/segment-name.ts";
import { writeSegments } from "../../../src/backup/write/write-segments.ts";
import type { LogMessage } from "../../../src/log/tx-log.ts";
import { eventLog } from "../../../src/observe/event-log.ts";
import type { NodeEvent } from "../../../src/observe/node-event.ts";
import { takeMessages } from "../../../testing/log-messages.ts";
import { BackupScene } from "@cairn/test-support/nodes/backup-scene";

interface Line {
  readonly level: number;
  readonly msg: string;
}

let scene: BackupScene;
let backup: LogBackup;
let faults: StoreFaults;
let told: NodeEvent[];
let lines: Line[];

beforeEach(async () => {
  scene = await BackupScene.open();
  [faults, told, lines] = [{}, [], []];
  const events = new EventDispatcher((error) => {
    throw error;
  });
  const write = (line: string): void => void lines.push(JSON.parse(line) as Line);
  events.listen(eventLog(pino({ level: "debug" }, { write })));
  events.listen((event) => told.push(event));
  backup = new LogBackup({
    store: faultyStore(scene.store, {
      before: (call) => faults.before?.(call) ?? Promise.resolve(),
      fail: (call) => faults.fail?.(call),
    }),
    log: scene.log,
    of: scene.of,
    node: "a",
    options: { every: 20, keep: "all", codec: "none" },
    events,
  });
  backup.start();
});
afterEach(async () => {
  await backup.stop();
  await scene.close();
});

const covered = (txId: number): Promise<void> =>
  vi.waitFor(() => expect(backup.status(txId)).toMatchObject({ covered: [{ first: 1, last: txId }] }));

it("a backup reports the looks that had work to do", async () => {
  await covered(1);
  await scene.append("one");
  await covered(2);
  const looked = backup.status(2).lastLookAt;
  await vi.waitFor(() => expect(backup.status(2).lastLookAt).not.toBe(looked));
  await backup.stop();
  expect(told.map(({ work, stage }) => `${work} ${stage}`)).toEqual([
    "backup begun",
    "backup ended",
    "backup begun",
    "backup ended",
  ]);
  const [segment] = (await scene.segments()).slice(-1);
  expect(told[3]).toMatchObject({
    outcome: "written",
    bytes: segment?.bytes,
    written: [{ name: segment?.name, bytes: segment?.bytes }],
    merged: [],
    removed: [],
    covered: [{ first: 1, last: 2 }],
  });
  expect(backup.status(2)).toMatchObject({
    written: { segments: 2 },
    exposed: { transactions: 0, since: null },
    lastFailure: null,
  });
  expect(lines.filter(({ msg }) => msg === "log segment written")).toHaveLength(2);
});

it("a backup reports each failure, the transactions that are exposed in the meantime, and its recovery", async () => {
  await covered(1);
  const broken = Date.now();
  faults.fail = () => unreachable();
  await scene.append("one");
  await vi.waitFor(() => expect(backup.status(2).lastFailure).toMatchObject({ code: "STORE_UNREACHABLE" }));
  const { exposed, failedLooks } = backup.status(2);
  expect([exposed.transactions, failedLooks]).toEqual([1, expect.any(Number)]);
  expect(failedLooks).toBeGreaterThan(0);
  expect(Date.parse(exposed.since ?? "")).toBeLessThanOrEqual(Date.now());
  const { since = "" } = backup.status(2).lastFailure ?? {};
  expect(Date.parse(since)).toBeGreaterThanOrEqual(broken);
  await vi.waitFor(() => expect(backup.status(2).failedLooks).toBeGreaterThan(failedLooks));
  expect(backup.status(2).lastFailure).toMatchObject({ since });
  faults.fail = () => undefined;
  await covered(2);
  expect(backup.status(2)).toMatchObject({ lastFailure: null, failedLooks: 0, exposed: { transactions: 0 } });
  await backup.stop();
  const failures = told.filter(({ stage }) => stage === "failed").length;
  expect(failures).toBeGreaterThan(0);
  expect(told.filter(({ stage }) => stage === "begun")).toHaveLength(told.length / 2);
});

it.each([
  [[], { first: 3, last: 5 }, 3, 3],
  [[{ first: 1, last: 4 }], { first: 3, last: 5 }, 1, 5],
  [[{ first: 1, last: 9 }], { first: 3, last: 5 }, 0, undefined],
  [
    [
      { first: 4, last: 4 },
      { first: 6, last: 9 },
    ],
    { first: 3, last: 11 },
    4,
    3,
  ],
  [[{ first: 1, last: 2 }], { first: 3, last: 2 }, 0, undefined],
])("of the runs %j and the range %j, %i transactions are missing", (runs, range, count, first) => {
  expect(missingIn(runs, range)).toEqual({ count, first });
});

it("a backup cannot determine the exposed transactions once the log has lost its end", async () => {
  await covered(1);
  const lost = { position: 2, time: Date.now(), payload: Buffer.from("lost") };
  const [first] = await takeMessages(scene.log, 1, 1);
  const { file, content } = await scene.encode(
    [lost],
    first === undefined ? undefined : anchorOf(first).sha256,
  );
  await scene.store.upload(file, Readable.from([content]));
  await scene.append("other");
  await vi.waitFor(() => expect(backup.status(2).lastFailure).toMatchObject({ code: "LOG_REGRESSED" }));
  expect(backup.status(2).exposed.transactions).toBeNull();
});

it("a range is not written after a segment that a log, grown again since it lost its end, does not continue", async () => {
  for (const text of ["one", "two"]) await scene.append(text);
  const lost = { position: 2, time: Date.now(), payload: Buffer.from("lost") };
  const [first] = await takeMessages(scene.log, 1, 1);
  const before = first === undefined ? undefined : anchorOf(first).sha256;
  const segmentOf = async (message: LogMessage): Promise<SegmentFile> => {
    const { file } = await scene.encode([message], before);
    const name = parseSegmentName(file);
    if (name === undefined) throw new Error(file);
    return { ...name, name: file, bytes: 1, modifiedAt: 0 };
  };
  const { store, log, of } = scene;
  const { signal } = new AbortController();
  const target = { store, log, of, node: "b", codec: "none", signal, storeNow: Date.now } as const;
  const write = async (segment: SegmentFile): Promise<void> =>
    await writeSegments(target, { first: 3, last: 3 }, () => undefined, { segments: [segment] });
  await expect(write(await segmentOf(lost))).rejects.toMatchObject({ code: "LOG_REGRESSED" });
  const [second] = await takeMessages(scene.log, 2, 1);
  await write(await segmentOf({ ...lost, ...second, position: 2 }));
});

it("a backup that is stopped during an upload aborts the upload, and reports the abort", async () => {
  const steps = new EventEmitter();
  const uploading = once(steps, "uploading");
  faults.before = async ({ method }) => {
    if (method !== "upload") return;
    steps.emit("uploading");
    await once(steps, "go on");
  };
  await scene.append("one");
  await uploading;
  const stopped = backup.stop();
  steps.emit("go on");
  await stopped;
  expect(told.at(-1)).toMatchObject({ work: "backup", stage: "failed", error: { code: "NOT_READY" } });
  expect(lines.some(({ level }) => level > 30)).toBe(false);
  expect(await scene.segments()).toHaveLength(told.filter(({ stage }) => stage === "ended").length);
});

it.each([
  ["messages", { bytes: 65_536, transactions: 65_536 }],
  ["bytes", { bytes: 8 * 1024 * 1024, transactions: 1 }],
])("a backup looks before its period is over if there are enough %s for a segment", async (_of, counts) => {
  let looks = 0;
  const { store, log, of } = scene;
  const slow = new LogBackup({
    store,
    log,
    of,
    node: "a",
    options: { every: 3_600_000, keep: "all", codec: "none" },
    onLook: () => {
      looks += 1;
    },
    random: () => 0,
  });
  slow.start();
  await vi.waitFor(() => expect(looks).toBe(1));
  slow.applied({ bytes: 0, transactions: counts.transactions - 1 });
  slow.applied({ bytes: counts.bytes - 1, transactions: 0 });
  slow.applied({ bytes: 1, transactions: 1 });
  await vi.waitFor(() => expect(looks).toBe(2));
  await slow.stop();
});

it("a clock that was ahead and was corrected does not make transactions exposed since a time to come", async () => {
  let aheadMs = 2 * 86_400_000;
  const corrected = new LogBackup({
    store: scene.store,
    log: scene.log,
    of: scene.of,
    node: "b",
    options: { every: 20, keep: "all", codec: "none" },
    clock: { ...systemClock, now: () => systemClock.now() + aheadMs },
  });
  corrected.start();
  try {
    const exposedSince = (): number => Date.parse(corrected.status(2).exposed.since ?? "");
    await vi.waitFor(() => expect(exposedSince()).toBeGreaterThan(Date.now()));
    aheadMs = 0;
    await vi.waitFor(() => expect(exposedSince()).toBeLessThanOrEqual(Date.now()));
  } finally {
    await corrected.stop();
  }
});
