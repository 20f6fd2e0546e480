import { Readable } from "node:stream";
import { expect, onTestFinished, test } from "vitest";
import type { CheckpointStore } from "@cairn/checkpoint";
import { s3Store } from "@cairn/checkpoint-s3";
import { answeringServer } from "./support/answering-server.ts";
import { memoryS3, type S3Asked } from "./support/memory-s3.ts";

function storeAt(endpoint: string): CheckpointStore {
  const credentials = { accessKeyId: "AKIDEXAMPLE", secretAccessKey: "not-to-be-told" };
  const store = s3Store({ bucket: "b", prefix: "p", endpoint, credentials, maxAttempts: 1 });
  onTestFinished(() => store.close());
  return store;
}

const LOGIN_PAGE = "<!DOCTYPE html><html><body><p>Please log in.<br></p></body></html>";

test.each([
  [
    "a login page",
    200,
    LOGIN_PAGE,
    "STORE_UNREACHABLE",
    /returned status 200 and a response that is not from S3/,
  ],
  ["a page that is also XML", 200, "<html><body>ok</body></html>", "STORE_UNREACHABLE", /not a listing/],
  ["nothing", 200, "", "STORE_UNREACHABLE", /not a listing/],
  [
    "a refusing page",
    403,
    LOGIN_PAGE,
    "STORE_UNREACHABLE",
    /returned status 403 and a response that is not from S3/,
  ],
  [
    "a page about a server behind it",
    502,
    LOGIN_PAGE,
    "STORE_UNREACHABLE",
    /returned status 502 and a response/,
  ],
  ["a redirect to a login page", 302, LOGIN_PAGE, "STORE_UNREACHABLE", /returned status 302 and a response/],
  ["a redirect without a body", 301, "", "STORE_UNREACHABLE", /returned status 301 and a response/],
  [
    "a page about a missing resource",
    404,
    LOGIN_PAGE,
    "STORE_UNREACHABLE",
    /returned status 404 and a response/,
  ],
  ["JSON", 200, '{"ok": true}', "STORE_UNREACHABLE", /a response that is not from S3/],
])("a proxy that responds with %s is not an empty store", async (_what, status, body, code, message) => {
  const headers =
    status < 300 || status > 399 ? {} : { location: "https://login.example.net/?token=hunter2" };
  const { endpoint } = await answeringServer(() => ({ status, body, headers }));
  const error: unknown = await storeAt(endpoint)
    .list("checkpoint-")
    .catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({
    code,
    message: expect.stringMatching(message),
    hint: expect.stringContaining("proxy"),
  });
  expect(String(error)).not.toMatch(/\n|Deserialization|Unknown|hunter2/);
});

test.each([
  ["has no continuation token", undefined],
  ["repeats its first page again and again", "1"],
])("a listing that is cut short and %s does not count as complete", async (_what, token) => {
  const next = token === undefined ? "" : `<NextContinuationToken>${token}</NextContinuationToken>`;
  const body = `<ListBucketResult><Name>b</Name><IsTruncated>true</IsTruncated>${next}</ListBucketResult>`;
  const { endpoint, asked } = await answeringServer(() => ({ status: 200, body }));
  await expect(storeAt(endpoint).list("")).rejects.toMatchObject({
    code: "STORE_UNREACHABLE",
    message: expect.stringContaining("truncated"),
  });
  expect(asked.length).toBeLessThan(3);
});

test("a list of unfinished uploads that repeats its first page is read once", async () => {
  const body =
    "<ListMultipartUploadsResult><Bucket>b</Bucket><IsTruncated>true</IsTruncated>" +
    "<NextKeyMarker>p/checkpoint-1</NextKeyMarker><NextUploadIdMarker>1</NextUploadIdMarker></ListMultipartUploadsResult>";
  const { endpoint, asked } = await answeringServer(() => ({ status: 200, body }));
  expect(await storeAt(endpoint).tidy?.({ before: Date.now(), isDead: () => true })).toEqual([]);
  expect(asked).toHaveLength(2);
});

const isWrite = ({ method, query }: S3Asked): boolean => method === "PUT" || query.has("uploads");

test.each([
  ["a small file", (store: CheckpointStore) => store.create("a.json", "{}")],
  ["another content of a small file", replaced],
  [
    "a file in one request",
    (store: CheckpointStore) => store.upload("a.tar", Readable.from([Buffer.from("content")])),
  ],
  [
    "a file in parts",
    (store: CheckpointStore) => store.upload("a.tar", Readable.from([Buffer.alloc(9_000_000)])),
  ],
])("a write of %s that a proxy answers in place of the service has failed", async (_what, write) => {
  const server = await memoryS3();
  const store = server.store();
  await store.create("other.json", "{}");
  const before = [...server.objects].map(([key, { etag }]) => [key, etag]);
  server.quirks.interfere = (asked, response) => {
    if (isWrite(asked)) response.writeHead(200, { "content-type": "text/html" }).end("<html></html>");
    return isWrite(asked);
  };
  await expect(write(store)).rejects.toMatchObject({
    code: "STORE_UNREACHABLE",
    message: expect.stringContaining("the response has no "),
    hint: expect.stringContaining("proxy"),
  });
  expect([...server.objects].map(([key, { etag }]) => [key, etag])).toEqual(before);
});

async function replaced(store: CheckpointStore): Promise<unknown> {
  const { tag = "" } = (await store.read("other.json")) ?? {};
  return await store.replace("other.json", "[]", tag);
}

test("a page that a proxy sends in place of a file is not its content", async () => {
  const server = await memoryS3();
  const store = server.store();
  await store.create("other.json", "{}");
  server.quirks.interfere = ({ method }, response) => {
    if (method === "GET") response.writeHead(200, { "content-type": "text/html" }).end("<html></html>");
    return method === "GET";
  };
  await expect(store.read("other.json")).rejects.toMatchObject({ code: "STORE_UNREACHABLE" });
});
