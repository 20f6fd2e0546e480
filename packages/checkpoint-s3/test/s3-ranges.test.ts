import { randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import type { StoredRanges } from "@cairn/checkpoint";
import { expect, test } from "vitest";
import { memoryS3, type MemoryS3, type S3Asked } from "./support/memory-s3.ts";

const BYTES = 300_000;
const CONTENT = randomBytes(BYTES);

interface Scene {
  readonly server: MemoryS3;
  readonly ranges: StoredRanges;
  /** Replaces the object by another of the same size. */
  replace(): void;
}

async function scene(): Promise<Scene> {
  const server = await memoryS3();
  await server.store().upload("a.tar", Readable.from([CONTENT], { objectMode: false }));
  const ranges = await server.store({ readOnly: true }).openRanges?.("a.tar");
  if (ranges === undefined) throw new Error("The store has no openRanges.");
  server.asked.length = 0;
  const replace = (): void => {
    for (const [key, object] of server.objects)
      server.objects.set(key, { ...object, body: randomBytes(BYTES), etag: '"other"' });
  };
  return { server, ranges, replace };
}

function isEqual(bytes: Buffer, start: number): boolean {
  return bytes.equals(CONTENT.subarray(start, start + bytes.length));
}

test("each range is one request, the first without and the others with a condition, even in a read-only store", async () => {
  const { server, ranges } = await scene();
  for (const start of [0, 10, BYTES - 100])
    expect(isEqual(await ranges.read(start, start + 100), start)).toBe(true);
  expect(await ranges.read(5, 5)).toHaveLength(0);
  const etag = [...server.objects.values()][0]?.etag;
  expect(server.asked.map(({ method, range, headers }) => [method, range, headers["if-match"]])).toEqual([
    ["GET", "bytes=0-99", undefined],
    ["GET", "bytes=10-109", etag],
    ["GET", `bytes=${BYTES - 100}-${BYTES - 1}`, etag],
  ]);
});

/** Whether the service evaluates the condition of a read. */
const CONDITIONS = [
  ["evaluates", () => undefined],
  ["ignores", ({ headers }: S3Asked) => void delete headers["if-match"]],
] as const;

test.each(CONDITIONS)(
  "a file that is replaced after the first read is corrupt, with a service that %s conditions",
  async (_, change) => {
    const { server, ranges, replace } = await scene();
    server.quirks.interfere = (asked) => change(asked) !== undefined;
    await ranges.read(0, 10);
    replace();
    await expect(ranges.read(10, 20)).rejects.toMatchObject({ code: "CHECKPOINT_CORRUPT" });
  },
);

test.each(CONDITIONS)(
  "a range whose connection breaks is completed, but not from another version, with a service that %s conditions",
  async (_, change) => {
    for (const isReplaced of [false, true]) {
      const { server, ranges, replace } = await scene();
      let breaks = 1;
      server.quirks.interfere = (asked) => change(asked) !== undefined;
      server.quirks.spoilBody = (_asked, body, response) => {
        if (breaks-- <= 0) return false;
        response.writeHead(206, { "content-length": String(body.length) });
        response.write(body.subarray(0, BYTES / 2), () => response.destroy());
        if (isReplaced) replace();
        return true;
      };
      const outcome = ranges.read(0, BYTES).then(
        (bytes) => isEqual(bytes, 0),
        (error: { readonly code?: string }) => error.code,
      );
      expect(await outcome).toBe(isReplaced ? "CHECKPOINT_CORRUPT" : true);
    }
  },
);

test("of first reads at once, only those of one version succeed", async () => {
  const { server, ranges, replace } = await scene();
  const answers: (() => void)[] = [];
  server.quirks.spoilBody = (_asked, body, response) => {
    answers.push(() => response.writeHead(206, { "content-length": String(body.length) }).end(body));
    if (answers.length === 4) replace();
    if (answers.length === 8) for (const answer of answers) answer();
    return true;
  };
  const starts = Array.from({ length: 8 }, (_, at) => at * 1000);
  const outcomes = await Promise.allSettled(starts.map((start) => ranges.read(start, start + 1000)));
  const codes = outcomes.map((outcome, at) =>
    outcome.status === "fulfilled" ? isEqual(outcome.value, starts[at] ?? 0) : String(outcome.reason.code),
  );
  // Whichever response arrives first decides which version it is.
  expect(codes.filter((code) => code === "CHECKPOINT_CORRUPT")).toHaveLength(4);
  expect(new Set(codes).size).toBe(2);
});

test("a service whose responses have no ETag is refused", async () => {
  const { server, ranges } = await scene();
  server.quirks.spoilBody = (_asked, _body, response) => {
    response.removeHeader("etag");
    return false;
  };
  await expect(ranges.read(0, 10)).rejects.toMatchObject({
    code: "STORE_UNREACHABLE",
    message: expect.stringContaining("no ETag"),
  });
});

test("closing the store ends reads that wait, which are not repeated", async () => {
  const server = await memoryS3();
  const store = server.store();
  await store.upload("a.tar", Readable.from([CONTENT], { objectMode: false }));
  const ranges = await store.openRanges?.("a.tar");
  let [waits, all] = [0, (): void => undefined];
  const waiting = new Promise<void>((resolve) => (all = resolve));
  server.quirks.interfere = () => {
    waits += 1;
    if (waits === 4) all();
    return true;
  };
  const reads = [0, 1, 2, 3].map((start) => ranges?.read(start, start + 10));
  await waiting;
  await store.close();
  for (const outcome of await Promise.allSettled(reads))
    expect(outcome).toMatchObject({ status: "rejected", reason: { code: "STORE_UNREACHABLE" } });
  expect(server.asked.filter(({ method }) => method === "GET")).toHaveLength(4);
});
