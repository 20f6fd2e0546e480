import { EventEmitter, once } from "node:events";
import { faultyStore, type StoreFaults, unreachable } from "@cairn/checkpoint/testing";
import { pino } from "pino";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { LogBackup } from "../../../src/backup/write/log-backup.ts";
import { EventDispatcher } from "../../../src/observe/event-dispatcher.ts";
import { eventLog } from "../../../src/observe/event-log.ts";
import type { NodeEvent } from "../../../src/observe/node-event.ts";
import { BackupScene } from "../backup-scene.ts";

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

it("a backup reports the looks that did something, and logs once that it works", async () => {
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
  const info = lines.filter(({ level }) => level >= 30).map(({ msg }) => msg);
  expect(info).toEqual(["the log is backed up"]);
  expect(lines.filter(({ msg }) => msg === "log segment written")).toHaveLength(2);
});

it("a backup reports each failure, what is exposed meanwhile, and that it works again", async () => {
  await covered(1);
  faults.fail = () => unreachable();
  await scene.append("one");
  await vi.waitFor(() => expect(backup.status(2).lastFailure).toMatchObject({ code: "STORE_UNREACHABLE" }));
  const { exposed } = backup.status(2);
  expect(exposed.transactions).toBe(1);
  expect(Date.parse(exposed.since ?? "")).toBeLessThanOrEqual(Date.now());
  faults.fail = () => undefined;
  await covered(2);
  expect(backup.status(2)).toMatchObject({ lastFailure: null, exposed: { transactions: 0 } });
  await backup.stop();
  const failures = told.filter(({ stage }) => stage === "failed").length;
  expect(failures).toBeGreaterThan(0);
  expect(told.filter(({ stage }) => stage === "begun")).toHaveLength(told.length / 2);
  const info = lines.filter(({ level }) => level >= 30).map(({ msg }) => msg);
  expect(info.filter((msg) => msg === "the log is backed up")).toHaveLength(2);
  expect(info.filter((msg) => msg.startsWith("backing up the log failed: "))).toHaveLength(failures);
});

it("a backup that is stopped within an upload ends it, and reports so", async () => {
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
