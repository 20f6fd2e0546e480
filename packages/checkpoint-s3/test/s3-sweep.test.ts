import { expect, test, vi } from "vitest";
import { acquireLease } from "@cairn/checkpoint/src/save/lease";
import { listCheckpoints } from "@cairn/checkpoint";
import { systemClock } from "@cairn/kv";
import { memoryS3 } from "./support/memory-s3.ts";
import type { MemoryS3 } from "./support/memory-s3.ts";
import { temporaryDirectory } from "@cairn/test-support/stores/places";
import { sweep, takeAt } from "@cairn/test-support/stores/rounds";
import { testSource } from "@cairn/test-support/stores/test-source";

const ARCHIVE = "checkpoint-7-2026-11-20T06-00-00.000Z-00000001.tar";

/** Leaves an upload that was begun `ageMs` ago, as a killed process would. */
function leaveUpload(server: MemoryS3, name: string, ageMs: number): void {
  server.uploads.set(name, { key: `cairn/test/${name}`, at: new Date(Date.now() - ageMs), parts: new Map() });
}

test("a sweep aborts and reports the uploads of killed nodes", async () => {
  const server = await memoryS3();
  leaveUpload(server, ARCHIVE, 7_200_000);
  leaveUpload(server, "checkpoint-of-somebody-else.tar", 7_200_000);
  leaveUpload(server, ARCHIVE.replace("7-", "8-"), 60_000);
  const { removed } = await sweep(server.store(), testSource());
  expect(removed).toMatchObject([{ name: ARCHIVE.replace(".tar", ""), reason: "leftover" }]);
  expect(server.uploads.size).toBe(2);
});

test("an upload that takes hours is not aborted while its lease is renewed, nor while a lease names no archive", async () => {
  const server = await memoryS3();
  const store = server.store();
  leaveUpload(server, ARCHIVE, 7_200_000);
  const lease = await acquireLease(server.store(), {
    owner: "other",
    logId: "log-b",
    ttlMs: 60_000,
    clock: systemClock,
  });
  expect((await sweep(store, testSource())).removed).toEqual([]);
  lease?.note({ archive: ARCHIVE, bytes: 1 });
  await lease?.confirm();
  leaveUpload(server, ARCHIVE.replace("7-", "8-"), 7_200_000);
  await sweep(store, testSource());
  expect([...server.uploads.keys()]).toEqual([ARCHIVE]);
  await lease?.release();
  await sweep(store, testSource());
  expect(server.uploads.size).toBe(0);
});

test("a service that does not list uploads is also swept, and a service that fails is reported", async () => {
  const server = await memoryS3();
  const store = server.store();
  let status = 501;
  server.quirks.interfere = ({ query }, response) => {
    if (!query.has("uploads")) return false;
    response.writeHead(status).end();
    return true;
  };
  expect((await sweep(store, testSource())).failed).toEqual([]);
  status = 500;
  expect((await sweep(store, testSource())).failed).toMatchObject([{ error: { code: "STORE_UNREACHABLE" } }]);
});

test("a missing permission to abort unfinished uploads is reported once, and the uploads are not touched", async () => {
  const server = await memoryS3();
  const onNotice = vi.fn<(sentence: string) => void>();
  const store = server.store({ onNotice });
  leaveUpload(server, ARCHIVE, 7_200_000);
  server.quirks.interfere = ({ method, query }, response) => {
    if (method !== "DELETE" || !query.has("uploadId")) return false;
    response.writeHead(403).end();
    return true;
  };
  for (const _round of [1, 2]) {
    expect(await sweep(store, testSource())).toEqual({ removed: [], failed: [] });
  }
  expect(onNotice.mock.calls).toEqual([[expect.stringContaining("s3:AbortMultipartUpload")]]);
  expect(server.uploads.size).toBe(1);
});

test("if nothing may be removed, checkpoints are saved one after the other, and sweeps do not touch them", async () => {
  const server = await memoryS3({ noDelete: true });
  const store = server.store();
  const source = testSource();
  const dir = await temporaryDirectory();
  for (const txId of [1, 2, 3]) {
    // The lease of the previous round has ended, although it cannot be removed.
    await takeAt(txId, store, source, dir);
    expect(await sweep(store, source, { policy: { retainAtLeast: 1 } })).toEqual({ removed: [], failed: [] });
  }
  expect((await listCheckpoints(store)).checkpoints).toHaveLength(3);
  const removing = server.asked.filter(({ method, query }) => method === "DELETE" && !query.has("uploadId"));
  expect(removing).toHaveLength(1);
});
