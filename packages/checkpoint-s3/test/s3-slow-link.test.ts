import { randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import { expect, test, vi } from "vitest";
import { memoryS3 } from "./support/memory-s3.ts";
import { slowLink } from "./support/slow-link.ts";

const MIB = 1024 ** 2;

test.each([4 * MIB, 7 * MIB])(
  "an upload of %i bytes is not given up while its bytes flow, although the buffers between hide it, and it tells its progress",
  { tags: "rest/slow" },
  async (size) => {
    const server = await memoryS3();
    const endpoint = await slowLink(server.endpoint, 3 * MIB);
    const options = { endpoint, partSize: 5 * MIB, maxAttempts: 1 };
    const content = randomBytes(size);
    // For a slower network, the hint says to raise the limit.
    const impatient = server.store({ ...options, requestTimeout: 10 });
    await expect(impatient.upload("a.tar", Readable.from([content]))).rejects.toMatchObject({
      hint: expect.stringContaining("raise the store's `request-timeout`"),
    });
    const store = server.store({ ...options, requestTimeout: 400 });
    const onSent = vi.fn<() => void>();
    await store.upload("a.tar", Readable.from([content]), { onSent });
    expect([...server.objects.values()].map(({ body }) => body.equals(content))).toEqual([true]);
    expect(onSent.mock.calls.length).toBeGreaterThan(size / MIB);
  },
);

test("an upload that is repeated because the service does not respond to it makes no progress, and says so", async () => {
  const server = await memoryS3({ interfere: ({ method }) => method === "PUT" });
  const [onNotice, onSent] = [vi.fn<(sentence: string) => void>(), vi.fn<() => void>()];
  const store = server.store({ partSize: 5 * MIB, requestTimeout: 50, maxAttempts: 2, onNotice });
  const uploading = store.upload("a.tar", Readable.from([randomBytes(MIB)]), { onSent });
  await expect(uploading).rejects.toMatchObject({
    code: "STORE_UNREACHABLE",
    message: expect.stringContaining("after 300 ms of inactivity"),
    hint: expect.stringContaining("`request-timeout`"),
  });
  // Four pieces of 256 KiB, once.
  expect(onSent).toHaveBeenCalledTimes(4);
  const said = "was idle for 0.3 s, so the request is sent again";
  expect(onNotice.mock.calls).toEqual([1, 2].map(() => [expect.stringContaining(said)]));
});

test("the beginning of a range is passed on before the rest of it has arrived", async () => {
  const server = await memoryS3();
  const store = server.store({ requestTimeout: 5_000 });
  const content = randomBytes(3 * MIB);
  await store.upload("a.tar", Readable.from([content]));
  let sendRest: (() => void) | undefined;
  server.quirks.spoilBody = ({ range }, body, response) => {
    if (range?.startsWith("bytes=0-") !== false) return false;
    response.writeHead(206, {
      "content-length": String(body.length),
      "content-range": `bytes ${content.length - body.length}-${content.length - 1}/${content.length}`,
      etag: [...server.objects.values()][0]?.etag,
    });
    response.write(body.subarray(0, MIB));
    sendRest = () => void response.end(body.subarray(MIB));
    return true;
  };
  const received: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of await store.open("a.tar")) {
    received.push(chunk as Buffer);
    bytes += (chunk as Buffer).length;
    // The first range has 256 KiB.
    if (bytes === MIB / 4 + MIB) sendRest?.();
  }
  expect(Buffer.concat(received).equals(content)).toBe(true);
  // Otherwise, the rest would have been requested again after some time.
  expect(server.asked.filter(({ range }) => range !== undefined)).toHaveLength(2);
});
