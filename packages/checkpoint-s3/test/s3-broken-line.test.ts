import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import { expect, test, vi } from "vitest";
import { s3FaultProxy } from "./support/s3-fault-proxy.ts";
import { s3Places } from "./support/s3-place.ts";

/** `pnpm soak` has the sizes of real checkpoints: 400 MB over a connection that breaks every 20 MB. */
const BREAKS = process.env["CAIRN_SOAK_ROUNDS"] === undefined ? 5 : 20;
const EVERY = process.env["CAIRN_SOAK_ROUNDS"] === undefined ? 12_000_000 : 20_000_000;

const place = s3Places();

test(
  `a download over a connection that breaks every ${EVERY / 1e6} MB succeeds and fetches next to nothing twice`,
  { timeout: 600_000 },
  async () => {
    const { s3, store } = place();
    const sent = createHash("sha256");
    const { bytes } = await store().upload("a.tar", Readable.from(content(EVERY * BREAKS, sent)));
    const proxy = await s3FaultProxy({ to: s3.endpoint });
    proxy.breakEvery = EVERY;
    const came = createHash("sha256");
    for await (const piece of await store({ endpoint: proxy.endpoint }).open("a.tar"))
      came.update(piece as Buffer);
    expect(came.digest("hex")).toBe(sent.digest("hex"));
    const { bytesReceived } = proxy.traffic("get");
    // Without breaks, the test would prove nothing.
    expect(proxy.happened.length).toBeGreaterThanOrEqual(BREAKS);
    expect(bytesReceived / bytes).toBeLessThan(1.05);
    if (process.env["CAIRN_SOAK_ROUNDS"] !== undefined)
      process.stdout.write(`${bytesReceived} bytes fetched for ${bytes}\n`);
  },
);

test("a range that breaks halfway is requested again from that point", async () => {
  const { s3, store } = place();
  const sent = createHash("sha256");
  await store().upload("a.tar", Readable.from(content(9_000_000, sent)));
  const proxy = await s3FaultProxy({ to: s3.endpoint });
  const asked: { first: number; last: number }[] = [];
  let broken = false;
  proxy.plan = ({ kind, detail }) => {
    if (kind !== "get") return undefined;
    const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(detail) ?? [];
    asked.push({ first: Number(first), last: Number(last) });
    if (broken || first === "0") return undefined;
    broken = true;
    return "short body";
  };
  const came = createHash("sha256");
  const reading = await store({ endpoint: proxy.endpoint, concurrency: 1 }).open("a.tar");
  for await (const piece of reading) came.update(piece as Buffer);
  expect(came.digest("hex")).toBe(sent.digest("hex"));
  const [, whole, rest] = asked as [unknown, (typeof asked)[0], (typeof asked)[0]];
  const half = Math.ceil((whole.last + 1 - whole.first) / 2);
  expect(rest).toEqual({ first: whole.first + half, last: whole.last });
  expect(proxy.traffic("get").bytesReceived).toBe(9_000_000);
});

test.each([
  { size: 1_000, answer: "put", isUsedAtOnce: true },
  { size: 1_000, answer: "put", isUsedAtOnce: false },
  { size: 12_000_000, answer: "complete", isUsedAtOnce: true },
  { size: 12_000_000, answer: "complete", isUsedAtOnce: false },
])(
  "a stored file of $size bytes, the answer to whose $answer does not arrive before the upload is aborted, stays only if others use it at once: $isUsedAtOnce",
  async ({ size, answer, isUsedAtOnce }) => {
    const { s3, store } = place();
    const proxy = await s3FaultProxy({ to: s3.endpoint });
    proxy.plan = ({ kind }) => (kind === answer ? "no answer" : undefined);
    const stop = new AbortController();
    const source = Readable.from(content(size, createHash("sha256")));
    const options = { signal: stop.signal, isUsedAtOnce };
    const uploading = store({ endpoint: proxy.endpoint }).upload("a.segment", source, options);
    const stored = async (): Promise<string[]> => (await store().list("")).map(({ name }) => name);
    await Promise.race([uploading, vi.waitFor(async () => expect(await stored()).toEqual(["a.segment"]))]);
    stop.abort(new Error("the node stops"));
    await expect(uploading).rejects.toThrow("the node stops");
    expect(await stored()).toEqual(isUsedAtOnce ? ["a.segment"] : []);
  },
);

function* content(bytes: number, hash: ReturnType<typeof createHash>): Generator<Buffer, void, undefined> {
  for (let at = 0; at < bytes; at += 1_000_000) {
    const piece = createHash("shake256", { outputLength: 1_000 }).update(String(at)).digest();
    const whole = Buffer.alloc(Math.min(1_000_000, bytes - at), piece);
    hash.update(whole);
    yield whole;
  }
}
