import { expect, onTestFinished, test } from "vitest";
import type { CheckpointStore } from "@cairn/checkpoint";
import { s3Store } from "@cairn/checkpoint-s3";
import { answeringServer } from "./support/answering-server.ts";

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
