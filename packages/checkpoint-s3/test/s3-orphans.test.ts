import { expect, test } from "vitest";
import { acquireLease } from "@cairn/checkpoint/src/save/lease";
import { systemClock } from "@cairn/kv";
import type { LeaseRecord } from "@cairn/checkpoint/src/store/lease-record";
import { memoryS3 } from "./support/memory-s3.ts";
import type { MemoryS3 } from "./support/memory-s3.ts";
import { temporaryDirectory } from "@cairn/test-support/stores/places";
import { sweep, take } from "@cairn/test-support/stores/rounds";
import { testSource } from "@cairn/test-support/stores/test-source";

const [FIRST = "", SECOND = "", UNNAMED = ""] = [1, 2, 3].map(
  (n) => `checkpoint-7-2026-11-20T06-00-00.000Z-0000000${n}.tar`,
);
const LEASE = "cairn/test/in-progress-log-a.json";
const ENDED = new Date(0).toISOString();
/** A size that does not fit in one part. */
const BYTES = 9_000_000;

/** Leaves an upload that has just begun, as a killed process does. */
function leaveUpload(server: MemoryS3, name: string): void {
  server.uploads.set(name, { key: `cairn/test/${name}`, at: new Date(), parts: new Map() });
}

function leaseIn({ objects }: MemoryS3): LeaseRecord | undefined {
  const text = objects.get(LEASE)?.body.toString();
  return text === undefined ? undefined : (JSON.parse(text) as LeaseRecord);
}

async function largeSource(): Promise<{ source: ReturnType<typeof testSource>; dir: string }> {
  const source = testSource();
  source.files = { "000001.ldb": Buffer.alloc(BYTES, 1) };
  return { source, dir: await temporaryDirectory() };
}

test("if uploads are listed only by their full key, a sweep finds those that a lease that has ended names, once", async () => {
  const server = await memoryS3({ uploadsByKey: true });
  const store = server.store();
  for (const name of [FIRST, SECOND, UNNAMED]) leaveUpload(server, name);
  const record = { owner: "dead", nonce: "1", progress: { bytes: 1 }, expiresAt: ENDED };
  const named = { ...record, archive: FIRST, unfinished: [SECOND, "../else.tar", "else.tar"] };
  await store.create("in-progress-log-of-another.json", JSON.stringify(named));
  const { removed, failed } = await sweep(store, testSource());
  expect(removed.map(({ name }) => `${name}.tar`).toSorted()).toEqual([FIRST, SECOND]);
  expect(failed).toEqual([]);
  expect([...server.uploads.keys()]).toEqual([UNNAMED]);
  server.asked.length = 0;
  await sweep(store, testSource());
  // One request lists by the prefix of all archives, for services that can list by prefix.
  expect(server.asked.filter(({ query }) => query.has("uploads"))).toHaveLength(1);
});

test("an upload that a live lease names is not aborted", async () => {
  const server = await memoryS3({ uploadsByKey: true });
  const store = server.store();
  leaveUpload(server, FIRST);
  const options = { owner: "other", logId: "log-b", ttlMs: 60_000, clock: systemClock };
  const lease = await acquireLease(server.store(), options);
  lease?.note({ archive: FIRST, bytes: 1 });
  await lease?.confirm();
  const record = { owner: "dead", nonce: "1", archive: FIRST, progress: { bytes: 1 }, expiresAt: ENDED };
  await store.create("in-progress-log-a.json", JSON.stringify(record));
  await sweep(store, testSource());
  expect(server.uploads.size).toBe(1);
  await lease?.release();
  await sweep(store, testSource());
  expect(server.uploads.size).toBe(0);
});

test("the lease names the archive before its upload begins, and so does the successor's lease", async () => {
  const server = await memoryS3({ uploadsByKey: true });
  const { source, dir } = await largeSource();
  const named: (string | undefined)[] = [];
  server.quirks.interfere = ({ method, query, key }) => {
    if (method === "POST" && query.has("uploads")) named.push(leaseIn(server)?.archive, key);
    return false;
  };
  await take(server.store(), source, dir);
  expect(named).toEqual([expect.stringMatching(/^checkpoint-1-.*\.tar$/), `cairn/test/${named[0]}`]);
  expect(server.objects.has(LEASE)).toBe(false);

  leaveUpload(server, FIRST);
  const dead = { owner: "dead", nonce: "1", archive: FIRST, progress: { bytes: 1 }, expiresAt: ENDED };
  await server.store().create("in-progress-log-a.json", JSON.stringify(dead));
  const options = { owner: "b", logId: "log-a", ttlMs: 60_000, clock: systemClock };
  const lease = await acquireLease(server.store(), options);
  lease?.note({ archive: SECOND, bytes: 0 });
  await lease?.confirm();
  expect(leaseIn(server)).toMatchObject({ archive: SECOND, unfinished: [FIRST] });
  lease?.settle();
  await lease?.release();
  expect(leaseIn(server)).toMatchObject({ unfinished: [FIRST], expiresAt: ENDED });
  await sweep(server.store(), source);
  expect(server.uploads.size).toBe(0);
});

test("an upload that failed and could not be aborted is aborted after the next checkpoint, and then nothing is left", async () => {
  const server = await memoryS3({ uploadsByKey: true });
  const store = server.store({ maxAttempts: 1 });
  const { source, dir } = await largeSource();
  let isAway = false;
  server.quirks.interfere = ({ query, method }, response) => {
    isAway ||= query.has("partNumber");
    if (!isAway || (!query.has("uploadId") && !query.has("uploads") && method !== "DELETE")) return false;
    response.writeHead(503).end();
    return true;
  };
  await expect(take(store, source, dir)).rejects.toMatchObject({ code: "STORE_UNREACHABLE" });
  expect(server.uploads.size).toBe(1);
  const [left] = [...server.uploads.values()];
  expect(`cairn/test/${leaseIn(server)?.archive}`).toBe(left?.key);

  server.quirks.interfere = () => false;
  expect(await take(store, source, dir)).toMatchObject({ outcome: "taken" });
  expect(server.uploads.size).toBe(1);
  expect((await sweep(store, source)).removed).toMatchObject([{ reason: "leftover" }]);
  expect(server.uploads.size).toBe(0);
  source.txId += 1;
  await take(store, source, dir);
  expect([...server.objects.keys()].filter((name) => !/\/checkpoint-/.test(name))).toEqual([]);
});
