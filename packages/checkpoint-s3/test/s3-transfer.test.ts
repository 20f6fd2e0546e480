import { createHash, randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import { CairnError } from "@cairn/kv";
import { expect, test, vi } from "vitest";
import { filesystemStore, listCheckpoints, type CheckpointStore } from "@cairn/checkpoint";
import { memoryS3 } from "./support/memory-s3.ts";
import type { MemoryS3, S3Asked } from "./support/memory-s3.ts";
import { temporaryDirectory } from "@cairn/test-support/stores/places";

const MIB = 1024 ** 2;
/** Content of three parts and a remainder. */
const CONTENT = randomBytes(17 * MIB);
const PARTS = { partSize: 5 * MIB, concurrency: 2 };

function pieces(content: Buffer, size = MIB): Readable {
  const parts: Buffer[] = [];
  for (let at = 0; at < content.length; at += size) parts.push(content.subarray(at, at + size));
  return Readable.from(parts, { objectMode: false });
}

async function digestOf(content: Readable): Promise<string> {
  const digest = createHash("sha256");
  for await (const piece of content) digest.update(piece);
  return digest.digest("hex");
}

const DIGEST = createHash("sha256").update(CONTENT).digest("hex");

function isPart({ method, query }: S3Asked): boolean {
  return method === "PUT" && query.has("partNumber");
}

function boundsOf(range: string): { first: number; last: number } {
  const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(range) ?? [];
  return { first: Number(first), last: Number(last) };
}

function isNotSecond(name: string): boolean {
  return name !== "checkpoint-2.tar";
}

function isComplete({ method, query }: S3Asked): boolean {
  return method === "POST" && query.has("uploadId");
}

async function expectWhole(server: MemoryS3, store: CheckpointStore): Promise<void> {
  expect(await digestOf(await store.open("a.tar"))).toBe(DIGEST);
  expect(server.uploads.size).toBe(0);
}

function expectNothing(server: MemoryS3): void {
  expect([...server.objects.keys()]).toEqual([]);
  expect(server.uploads.size).toBe(0);
}

test.each([
  [7 * MIB, 7 * MIB, 1],
  [7 * MIB, undefined, 4],
  [7 * MIB, 1 * MIB, 3],
  [7 * MIB, 8 * MIB, 1],
  [17 * MIB, 17 * MIB, 7],
])(
  "a file of %i bytes, expected to have %i, is downloaded with %i requests",
  { tags: "rest/slow" },
  async (size, expectedBytes, requests) => {
    const server = await memoryS3();
    const store = server.store(PARTS);
    const content = CONTENT.subarray(0, size);
    await store.upload("a.segment", pieces(content));
    server.asked.length = 0;
    const digest = createHash("sha256").update(content).digest("hex");
    expect(await digestOf(await store.open("a.segment", { expectedBytes }))).toBe(digest);
    expect(server.asked).toHaveLength(requests);
  },
);

test("a large file is uploaded in parts with bounded concurrency, and downloaded in ranges", async () => {
  const server = await memoryS3();
  const store = server.store(PARTS);
  expect(await store.upload("a.tar", pieces(CONTENT))).toEqual({ bytes: CONTENT.length });
  expect(server.asked.filter(isPart)).toHaveLength(4);
  server.asked.length = 0;
  await expectWhole(server, store);
  const ranges = server.asked.flatMap(({ range }) => (range === undefined ? [] : [boundsOf(range)]));
  expect(ranges.length).toBeGreaterThan(3);
  // Each byte was fetched exactly once.
  let next = 0;
  for (const { first, last } of ranges.toSorted((a, b) => a.first - b.first)) {
    expect(first).toBe(next);
    next = last + 1;
  }
  expect(next).toBeGreaterThanOrEqual(CONTENT.length);
});

test("parts grow with the expected size", async () => {
  const server = await memoryS3();
  const expectedBytes = 8_000 * 6 * MIB;
  await server.store(PARTS).upload("a.tar", pieces(CONTENT), { expectedBytes });
  expect(server.asked.filter(isPart)).toHaveLength(3);
});

test("a part whose response was lost, and one that failed, are sent again", async () => {
  const server = await memoryS3();
  let lost = 1;
  let failed = 1;
  server.quirks.loseAnswer = (asked) => isPart(asked) && asked.query.get("partNumber") === "2" && lost-- > 0;
  server.quirks.interfere = (asked, response) => {
    if (!isPart(asked) || asked.query.get("partNumber") !== "3" || failed-- <= 0) return false;
    response.writeHead(503).end();
    return true;
  };
  const store = server.store(PARTS);
  await store.upload("a.tar", pieces(CONTENT));
  await expectWhole(server, store);
  expect(server.asked.filter(isPart)).toHaveLength(6);
});

test.each([
  ["the content fails", "content"],
  ["it is aborted", "abort"],
  ["a part fails permanently", "part"],
])(
  "when %s in the middle of an upload, nothing is left, not even its parts",
  { tags: "rest/slow" },
  async (_what, how) => {
    const server = await memoryS3();
    const store = server.store(PARTS);
    const stop = new AbortController();
    if (how === "part") {
      server.quirks.interfere = (asked, response) => {
        if (!isPart(asked) || asked.query.get("partNumber") !== "2") return false;
        response.writeHead(500).end();
        return true;
      };
    }
    async function* content(): AsyncGenerator<Buffer> {
      yield CONTENT.subarray(0, 12 * MIB);
      await vi.waitFor(() => expect(server.asked.some(isPart)).toBe(true));
      if (how === "abort") stop.abort(new Error("the content failed"));
      if (how === "content") throw new Error("the content failed");
      // A failed part must be reported without waiting for the others.
      await new Promise(() => undefined);
    }
    const upload = store.upload("a.tar", Readable.from(content(), { objectMode: false }), {
      signal: stop.signal,
    });
    await expect(upload).rejects.toThrow(how === "part" ? /responded with 500/ : "the content failed");
    await vi.waitFor(() => expectNothing(server));
  },
);

test("an upload whose completion succeeded without a response has succeeded", async () => {
  const server = await memoryS3({ loseAnswer: isComplete });
  const store = server.store(PARTS);
  expect(await store.upload("a.tar", pieces(CONTENT))).toEqual({ bytes: CONTENT.length });
  server.quirks.loseAnswer = () => false;
  await expectWhole(server, store);
});

test("a completion with status 200 and an error fails, and leaves nothing behind", async () => {
  const server = await memoryS3();
  server.quirks.interfere = (asked, response) => {
    if (!isComplete(asked)) return false;
    response.writeHead(200).end("<Error><Code>InternalError</Code><Message>Not now.</Message></Error>\n");
    return true;
  };
  await expect(server.store(PARTS).upload("a.tar", pieces(CONTENT))).rejects.toMatchObject({
    code: expect.stringMatching(/STORE_UNREACHABLE|CHECKPOINT_INCOMPLETE/),
  });
  expectNothing(server);
});

test.each([
  ["a completion without an ETag", { noEtagOnComplete: true }],
  ["an upload to a service that keeps no metadata", { noMetadata: true }],
])("%s succeeds", async (_, quirks) => {
  const server = await memoryS3(quirks);
  const store = server.store(PARTS);
  await store.upload("a.tar", pieces(CONTENT));
  await expectWhole(server, store);
});

test("if the response to a request that begins an upload was lost, the upload that it began is aborted", async () => {
  const server = await memoryS3();
  let lost = 1;
  server.quirks.loseAnswer = ({ method, query }) => method === "POST" && query.has("uploads") && lost-- > 0;
  const store = server.store(PARTS);
  await store.upload("a.tar", pieces(CONTENT));
  await expectWhole(server, store);
});

test("a small file that was written without a response counts as written", async () => {
  const server = await memoryS3();
  const store = server.store();
  expect(await store.create("first.json", "{}")).toBe(true);
  let lost = 2;
  server.quirks.loseAnswer = ({ method, key }) => method === "PUT" && key.includes("a.") && lost-- > 0;
  expect(await store.create("a.json", "mine")).toBe(true);
  lost = 2;
  const tag = (await store.read("a.json"))?.tag ?? "";
  expect(await store.replace("a.json", "mine too", tag)).toMatchObject({ tag: expect.any(String) });
  lost = 2;
  expect(await store.upload("a.tar", pieces(Buffer.from("small")))).toEqual({ bytes: 5 });
});

test("a broken range continues where it broke", async () => {
  const server = await memoryS3();
  const store = server.store(PARTS);
  await store.upload("a.tar", pieces(CONTENT));
  server.asked.length = 0;
  let sent = 0;
  server.quirks.spoilBody = (_asked, body, response) => {
    const most = Math.min(body.length, 2 * MIB);
    sent += most;
    response.writeHead(206, { "content-length": String(body.length) });
    response.write(body.subarray(0, most), () => {
      if (most < body.length) response.destroy();
      else response.end();
    });
    return true;
  };
  await expectWhole(server, store);
  expect(sent).toBeLessThan(1.3 * CONTENT.length);
  expect(server.asked.length).toBeGreaterThan(8);
});

test("a download whose ranges repeatedly return no data fails with a clear error", async () => {
  const server = await memoryS3();
  const store = server.store(PARTS);
  await store.upload("a.tar", pieces(CONTENT));
  server.quirks.spoilBody = ({ range }, body, response) => {
    if (range?.startsWith("bytes=0-") === true) return false;
    response.writeHead(206, { "content-length": String(body.length) });
    response.flushHeaders();
    response.destroy();
    return true;
  };
  await expect(digestOf(await store.open("a.tar"))).rejects.toMatchObject({ code: "STORE_UNREACHABLE" });
});

test("a stalled body is abandoned and requested again", async () => {
  const server = await memoryS3();
  const store = server.store({ ...PARTS, requestTimeout: 300 });
  await store.upload("a.tar", pieces(CONTENT));
  let stalls = 2;
  server.quirks.spoilBody = (_asked, body, response) => {
    if (body.length < MIB || stalls-- <= 0) return false;
    response.writeHead(206, { "content-length": String(body.length) });
    response.write(body.subarray(0, MIB));
    return true;
  };
  await expectWhole(server, store);
});

test("a service that does not support ranges is refused", async () => {
  const server = await memoryS3({ noRanges: true });
  const store = server.store(PARTS);
  await store.upload("a.tar", pieces(CONTENT));
  await expect(store.open("a.tar")).rejects.toMatchObject({
    code: "STORE_UNREACHABLE",
    message: expect.stringContaining("not a range, which the service must support"),
  });
  // The lease is the first small file of a round, so no checkpoint is saved that could not be restored.
  await expect(store.create("a.json", "{}")).rejects.toMatchObject({ code: "STORE_UNREACHABLE" });
  expect([...server.objects.keys()]).toEqual(["cairn/test/a.tar"]);
});

test("replacing an archive that is being read causes an error, and old and new content are not mixed", async () => {
  const server = await memoryS3();
  const store = server.store({ ...PARTS, concurrency: 1 });
  await store.upload("a.tar", pieces(CONTENT));
  const content = await store.open("a.tar");
  const key = [...server.objects.keys()][0] ?? "";
  const object = server.objects.get(key);
  if (object !== undefined) server.objects.set(key, { ...object, etag: '"other"' });
  await expect(digestOf(content)).rejects.toMatchObject({ code: "CHECKPOINT_CORRUPT" });
});

test("a service is probed once, and the probe leaves nothing behind", async () => {
  const server = await memoryS3();
  const store = server.store();
  expect(store.describe?.()).toBeUndefined();
  expect(await store.create("a.json", "{}")).toBe(true);
  expect(store.describe?.()).toEqual({
    exclusive: true,
    canDelete: true,
    checksums: "when-required",
  });
  expect([...server.objects.keys()]).toEqual(["cairn/test/a.json"]);
  server.asked.length = 0;
  await store.create("b.json", "{}");
  expect(server.asked).toHaveLength(1);
});

test("with credentials that do not permit removals, everything else works, and the restriction is reported once", async () => {
  const server = await memoryS3({ noDelete: true });
  const onNotice = vi.fn<(sentence: string) => void>();
  const store = server.store({ onNotice });
  expect(await store.create("a.json", "{}")).toBe(true);
  expect(await store.create("a.json", "{}")).toBe(false);
  expect(store.describe?.()).toMatchObject({ exclusive: true, canDelete: false });
  await expect(store.remove("a.json")).rejects.toMatchObject({ code: "STORE_DENIED" });
  const again = server.store({ onNotice: () => undefined });
  await again.create("b.json", "{}");
  expect(again.describe?.()).toMatchObject({ exclusive: true });
  expect(onNotice).toHaveBeenCalledTimes(1);
  expect(onNotice.mock.calls[0]?.[0]).toContain("s3:DeleteObject");
  const left = [...server.objects.keys()].filter((key) => key.includes("probe"));
  expect(left).toEqual(["cairn/test/.probe-kept"]);
});

test("a removal that is refused once is not taken for a missing permission", async () => {
  const quirks = { noDelete: false };
  const server = await memoryS3(quirks);
  const onNotice = vi.fn<(sentence: string) => void>();
  const store = server.store({ onNotice });
  await store.create("a.json", "{}");
  quirks.noDelete = true;
  await expect(store.remove("a.json")).rejects.toMatchObject({ code: "STORE_DENIED" });
  quirks.noDelete = false;
  expect(store.describe?.()).toMatchObject({ canDelete: true });
  await store.remove("a.json");
  expect(await store.list("")).toEqual([]);
  expect(onNotice).not.toHaveBeenCalled();
});

test("unfinished uploads of dead writers are aborted, but others are not", async () => {
  const server = await memoryS3();
  const store = server.store();
  const old = new Date(Date.now() - 7_200_000);
  for (const [id, name, at] of [
    ["dead", "cairn/test/checkpoint-1.tar", old],
    ["living", "cairn/test/checkpoint-2.tar", old],
    ["young", "cairn/test/checkpoint-3.tar", new Date()],
    ["foreign", "cairn/other/checkpoint-1.tar", old],
  ] as const) {
    server.uploads.set(id, { key: name, at, parts: new Map() });
  }
  const before = Date.now() - 3_600_000;
  expect(await store.tidy?.({ before, isDead: isNotSecond })).toEqual(["checkpoint-1.tar"]);
  expect([...server.uploads.keys()].toSorted()).toEqual(["foreign", "living", "young"]);
});

test("a store that was copied to a folder and back keeps working", async () => {
  const server = await memoryS3();
  const store = server.store(PARTS);
  await store.upload("a.tar", pieces(CONTENT));
  await store.create("a.json", "{}");
  const folder = filesystemStore({ path: await temporaryDirectory() });
  const back = server.store({ prefix: "another" });
  for (const [from, to] of [
    [store, folder],
    [folder, back],
  ] as const) {
    for (const { name } of await from.list("")) await to.upload(name, await from.open(name));
  }
  expect(await digestOf(await back.open("a.tar"))).toBe(DIGEST);
  expect(await back.read("a.json")).toEqual(await store.read("a.json"));
  expect(await listCheckpoints(back)).toEqual({ checkpoints: [], skipped: [], incomplete: [] });
});

test("an upload whose result cannot be checked is not a success", async () => {
  const server = await memoryS3();
  const store = server.store({ ...PARTS, maxAttempts: 1 });
  let completed = false;
  server.quirks.loseAnswer = (asked) => {
    completed ||= isComplete(asked);
    return completed;
  };
  const error = await store.upload("a.tar", pieces(CONTENT)).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(CairnError);
  expect(error).toMatchObject({ code: "STORE_UNREACHABLE" });
});

test("an outage of the service during a transfer ends neither uploads nor downloads", async () => {
  const server = await memoryS3();
  const store = server.store(PARTS);
  let away = 0;
  // There are more failures than the retries of one request can overcome.
  server.quirks.interfere = (asked, response) => {
    const isMoved = isPart(asked) || (asked.range !== undefined && !asked.range.startsWith("bytes=0-"));
    if (!isMoved || away >= 7) return false;
    away += 1;
    response.destroy();
    return true;
  };
  await store.upload("a.tar", pieces(CONTENT));
  away = 0;
  await expectWhole(server, store);
  expect(away).toBe(7);
});

test("with checksums, each part has one, and the completion lists them all", async () => {
  const server = await memoryS3();
  const store = server.store({ ...PARTS, checksums: "when-supported" });
  await store.upload("a.tar", pieces(CONTENT));
  await expectWhole(server, store);
  const sent = server.asked.filter(isPart).map(({ headers }) => headers["x-amz-checksum-crc32"]);
  expect(sent).toHaveLength(4);
  expect(sent.every((checksum) => /^[A-Za-z0-9+/]{6}==$/.test(String(checksum)))).toBe(true);
  server.asked.length = 0;
  await server.store(PARTS).upload("b.tar", pieces(CONTENT));
  expect(server.asked.some(({ headers }) => "x-amz-checksum-crc32" in headers)).toBe(false);
});

test("every write requests encryption, and only archives a storage class", async () => {
  const server = await memoryS3();
  const options = {
    serverSideEncryption: "aws:kms",
    kmsKeyId: "key-1",
    storageClass: "STANDARD_IA",
  } as const;
  const store = server.store({ ...PARTS, ...options });
  await store.create("a.json", "{}");
  await store.upload("small.tar", pieces(Buffer.from("small")));
  await store.upload("a.tar", pieces(CONTENT));
  const begun = server.asked.filter(({ method, query }) => method !== "GET" && !query.has("uploadId"));
  for (const { method, key, headers } of begun) {
    if (method === "DELETE" || method === "HEAD") continue;
    expect([key, headers["x-amz-server-side-encryption"]]).toEqual([key, "aws:kms"]);
    expect(headers["x-amz-server-side-encryption-aws-kms-key-id"]).toBe("key-1");
    expect(headers["x-amz-storage-class"]).toBe(key.endsWith(".tar") ? "STANDARD_IA" : undefined);
  }
});
