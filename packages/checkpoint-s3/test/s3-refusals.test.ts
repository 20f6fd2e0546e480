import { Readable } from "node:stream";
import { expect, test } from "vitest";
import { listingPage } from "./support/answering-server.ts";
import { memoryS3 } from "./support/memory-s3.ts";
import { temporaryDirectory } from "@cairn/test-support/stores/places";
import { take } from "@cairn/test-support/stores/rounds";
import { s3FaultProxy } from "./support/s3-fault-proxy.ts";
import { s3Places } from "./support/s3-place.ts";
import { testSource } from "@cairn/test-support/stores/test-source";

const place = s3Places();

test("a service that refuses every condition is found not to be exclusive", async () => {
  const server = await memoryS3({ conditions: "refused" });
  const store = server.store();
  await store.create("a.json", "{}");
  expect(store.describe?.()).toMatchObject({ exclusive: false, canDelete: true });
  expect([...server.objects.keys()]).toEqual(["cairn/test/a.json"]);
});

test.each([
  ["create", "if-none-match"],
  ["replace", "if-match"],
] as const)(
  "a service that loses the response to the first write that may only %s is found to be exclusive",
  async (_what, header) => {
    const server = await memoryS3();
    let lost = 0;
    server.quirks.loseAnswer = ({ headers }) => headers[header] !== undefined && lost++ === 0;
    const store = server.store();
    await store.create("a.json", "{}");
    expect(store.describe?.()).toMatchObject({ exclusive: true });
    expect(lost).toBeGreaterThan(1);
    expect([...server.objects.keys()]).toEqual(["cairn/test/a.json"]);
  },
);

test("an upload that conflicts with an object that has since been removed can be retried, and leaves nothing behind", async () => {
  const { s3, store, lying } = place();
  const proxy = await s3FaultProxy({ to: s3.endpoint });
  const writer = store({ endpoint: proxy.endpoint });
  await writer.create("probed.json", "{}");
  proxy.plan = ({ kind }) => (kind === "complete" ? "412" : undefined);
  const upload = (): Promise<unknown> => writer.upload("a.tar", Readable.from([Buffer.alloc(9_000_000)]));
  await expect(upload()).rejects.toMatchObject({ code: "STORE_UNREACHABLE" });
  expect(await lying(proxy.begun)).toEqual(["probed.json"]);
  proxy.plan = () => undefined;
  expect(await upload()).toEqual({ bytes: 9_000_000 });
});

test("an upload whose completion repeatedly receives a 200 with an error leaves nothing behind", async () => {
  const { s3, store, lying } = place();
  const proxy = await s3FaultProxy({ to: s3.endpoint });
  proxy.plan = ({ kind }) => (kind === "complete" ? "error in 200" : undefined);
  const writer = store({ endpoint: proxy.endpoint, maxAttempts: 2 });
  const upload = writer.upload("a.tar", Readable.from([Buffer.alloc(9_000_000)]));
  await expect(upload).rejects.toMatchObject({ code: "STORE_UNREACHABLE" });
  expect(await lying(proxy.begun)).toEqual([]);
});

test("an upload that the service completed without a response counts as complete", async () => {
  const { s3, store, lying } = place();
  const proxy = await s3FaultProxy({ to: s3.endpoint });
  proxy.plan = ({ kind }) => (kind === "complete" ? "answer lost" : undefined);
  const writer = store({ endpoint: proxy.endpoint, maxAttempts: 2 });
  const upload = writer.upload("a.tar", Readable.from([Buffer.alloc(9_000_000)]));
  expect(await upload).toEqual({ bytes: 9_000_000 });
  expect(await lying(proxy.begun)).toEqual(["a.tar"]);
});

test("a listing takes one request per thousand objects", { tags: "rest/slow" }, async () => {
  const { s3, store, prefix, client } = place();
  const names = Array.from({ length: 1_001 }, (_, n) => `${String(n).padStart(5, "0")}.json`);
  const puts = [...names];
  const put = async (): Promise<void> => {
    for (let name = puts.pop(); name !== undefined; name = puts.pop())
      await client.putObject({ Bucket: s3.bucket, Key: `${prefix}/${name}`, Body: "{}" });
  };
  await Promise.all(Array.from({ length: 16 }, put));
  const proxy = await s3FaultProxy({ to: s3.endpoint });
  const listed = await store({ endpoint: proxy.endpoint }).list("");
  expect(listed.map(({ name }) => name)).toEqual(names);
  expect(proxy.requests).toBe(2);
});

test("a prefix that a web address would escape is kept unchanged", async () => {
  const { store, prefix } = place();
  for (const odd of ["100%41", "a+b c?d#e&f=g", "ünï/код", "'\"<>", ".a/..b/c.."]) {
    const files = store({ prefix: `${prefix}/${odd}` });
    await files.create("in-progress.json", odd);
    await files.upload("a.tar", Readable.from([Buffer.alloc(6_000_000)]));
    expect((await files.list("")).map(({ name }) => name)).toEqual(["a.tar", "in-progress.json"]);
    expect(await files.read("in-progress.json")).toMatchObject({ text: odd });
    for (const { name } of await files.list("")) await files.remove(name);
  }
});

test.each(["a/../b", "a/./b", "a//b", "..", "a/..", "nul\0b", "\ud800"])(
  "the prefix %j, which a service may not preserve, is refused before any request",
  (prefix) => {
    const { store } = place();
    const hint = expect.stringContaining("cairn/production");
    expect(() => store({ prefix })).toThrow(expect.objectContaining({ code: "CONFIG_INVALID", hint }));
  },
);

test("a service that does not list what was written is refused before anything is saved", async () => {
  const server = await memoryS3();
  const store = server.store();
  server.quirks.interfere = ({ query }, response) => {
    if (!query.has("list-type")) return false;
    response.setHeader("content-type", "application/xml").end(listingPage([]));
    return true;
  };
  const source = testSource();
  const round = take(store, source, await temporaryDirectory());
  await expect(round).rejects.toMatchObject({
    code: "STORE_DENIED",
    message: expect.stringContaining("does not list"),
  });
  expect(source.captures).toBe(0);
  expect(server.objects.size).toBe(0);
  server.quirks.interfere = () => false;
  expect(await take(store, source, await temporaryDirectory())).toMatchObject({ outcome: "taken" });
});
