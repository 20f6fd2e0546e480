import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { type CheckpointStore, filesystemStore } from "@cairn/checkpoint";
import { faultyStore } from "@cairn/checkpoint/testing";
import { systemClock, CairnError } from "@cairn/kv";
import { expect, it, onTestFinished } from "vitest";
import { BackupLog } from "../../src/backup/backup-log.ts";
import { lookAtBackup } from "../../src/backup/write/backup-look.ts";
import { logWithBackup } from "../../src/backup/log-with-backup.ts";
import { openEmbeddedTxLog } from "../../src/log/embedded/embedded-tx-log.ts";
import type { TxLog } from "../../src/log/tx-log.ts";
import { describeTxLog, type TxLogHarness } from "../../testing/tx-log-suite.ts";
import { takeMessages, text } from "../../testing/log-messages.ts";
import { BackupScene, noMemory } from "@cairn/test-support/nodes/backup-scene";

type Reading = Pick<TxLog, "id" | "exists" | "bounds" | "fetch" | "read" | "close">;

/** Returns a log that is backed up after each message, before `append` returns, and is read by `reading`. */
function backedUp(
  log: TxLog,
  store: CheckpointStore,
  reading: (logId: string) => Reading,
  afterLook: () => Promise<void>,
): TxLog {
  const memory = noMemory();
  let reader: Reading | undefined;
  let looked: Promise<void> = Promise.resolve();
  let asked = 0;
  let isClosed = false;
  const opened = async (): Promise<Reading> => {
    if (isClosed) throw new CairnError("LOG_UNREACHABLE", "It was closed.");
    reader ??= reading((await log.id()) ?? "none");
    return reader;
  };
  const look = async (): Promise<void> => {
    await lookAtBackup({
      store,
      log,
      of: { id: (await log.id()) ?? "", name: log.name, offset: 0 },
      node: "a",
      codec: "gzip",
      every: 60_000,
      forced: true,
      memory,
      clock: systemClock,
      signal: new AbortController().signal,
    });
    await afterLook();
  };
  /** Looks run one after another. Each covers all requests that were made since the previous one. */
  const backUp = async (): Promise<void> => {
    asked += 1;
    const mine = asked;
    const before = looked;
    looked = (async () => {
      await before;
      if (asked === mine) await look();
    })();
    let last;
    do {
      last = looked;
      await last;
    } while (last !== looked);
  };
  return {
    name: log.name,
    maxPayload: log.maxPayload,
    id: () => log.id(),
    exists: async () =>
      (await log.id()) === undefined ? await log.exists() : await (await opened()).exists(),
    async create(birthRecord) {
      await log.create(birthRecord);
      await backUp();
    },
    async append(payload, options) {
      const appended = await log.append(payload, options);
      await backUp();
      return appended;
    },
    async bounds() {
      return (await log.id()) === undefined ? await log.bounds() : await (await opened()).bounds();
    },
    async fetch(position) {
      return await (await opened()).fetch(position);
    },
    async *read(from, options) {
      yield* (await opened()).read(from, options);
    },
    async close() {
      isClosed = true;
      await reader?.close();
      await log.close();
    },
  };
}

async function harness(
  reading: (log: TxLog, store: CheckpointStore, logId: string) => Reading,
  afterLook: (log: TxLog) => Promise<void>,
): Promise<TxLogHarness> {
  const folder = await mkdtemp(path.join(tmpdir(), "cairn-backup-log-"));
  return {
    async open() {
      const log = await openEmbeddedTxLog({ path: path.join(folder, "log") });
      const store = filesystemStore({ path: path.join(folder, "store") });
      return backedUp(
        log,
        store,
        (logId) => reading(log, store, logId),
        () => afterLook(log),
      );
    },
    close: () => rm(folder, { recursive: true }),
  };
}

describeTxLog("an embedded log, read from its backup,", () =>
  harness(
    (_log, store, logId) => new BackupLog({ store, logId, every: 5 }),
    async () => undefined,
  ),
);

describeTxLog("an embedded log that is trimmed up to its last message, together with its backup,", () =>
  harness(
    (log, store) => logWithBackup(log, [store]),
    async (log) => {
      const { last } = await log.bounds();
      await log.trim?.(last);
    },
  ),
);

it("a reader follows a backup that grows without listing it each time", { tags: "rest/slow" }, async () => {
  const scene = await BackupScene.open();
  try {
    let lists = 0;
    const store = faultyStore(scene.store, {
      fail: ({ method }) => void (lists += Number(method === "list")),
    });
    const reader = new BackupLog({ store, logId: scene.logId, every: 400 });
    await scene.look();
    const read: (string | undefined)[] = [];
    for await (const messages of reader.read(1, { signal: new AbortController().signal, maxMessages: 1 })) {
      read.push(...messages.map(text));
      if (read.length > 8) break;
      await scene.append(`message ${read.length}`);
      await scene.look();
    }
    expect(read).toEqual((await takeMessages(scene.log, 1, 9)).map(text));
    // It lists the backup when it begins, and each time its machine is too busy to look for two periods.
    expect(lists).toBeLessThan(5);
  } finally {
    await scene.close();
  }
});

it("a segment that the store lists, but does not have, is damaged", async () => {
  const scene = await BackupScene.open();
  onTestFinished(() => scene.close());
  for (const message of ["one", "two", "three"]) {
    await scene.append(message);
    await scene.look();
  }
  const missing = (await scene.segments())[1]?.name ?? "";
  const store = faultyStore(scene.store, {
    fail: ({ method, name }) =>
      method === "open" && name === missing ? new CairnError("NOT_FOUND", "It is not there.") : undefined,
  });
  const log = new BackupLog({ store, logId: scene.logId });
  const read: (string | undefined)[] = [];
  const reading = (async () => {
    for await (const messages of log.read(1, { signal: new AbortController().signal }))
      read.push(...messages.map(text));
  })();
  await expect(reading).rejects.toMatchObject({
    code: "SEGMENT_CORRUPT",
    message: expect.stringContaining(`${missing} is damaged: the store lists it, but does not have it`),
  });
  expect(read.slice(1)).toEqual(["one"]);
});
