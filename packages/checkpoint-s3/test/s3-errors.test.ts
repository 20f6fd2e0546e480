import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { Readable } from "node:stream";
import { join } from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import { type CheckpointStore, isSamePlace } from "@cairn/checkpoint";
import { type S3StoreOptions, s3Store } from "@cairn/checkpoint-s3";
import { s3Access } from "../src/s3-access.ts";
import { s3Error } from "../src/s3-errors.ts";
import { s3Settings } from "../src/s3-options.ts";
import { answeringServer, errorDocument, listingPage } from "./support/answering-server.ts";
import { memoryS3 } from "./support/memory-s3.ts";
import { temporaryDirectory } from "@cairn/test-support/stores/places";

const KEY = { accessKeyId: "AKIDEXAMPLE", secretAccessKey: "not-to-be-told" };

function storeAt(endpoint: string, options: Partial<S3StoreOptions> = {}): CheckpointStore {
  const store = s3Store({ bucket: "b", prefix: "p", endpoint, credentials: KEY, maxAttempts: 2, ...options });
  onTestFinished(() => store.close());
  return store;
}

test.each([
  [403, "AccessDenied", "", "STORE_DENIED", /s3:ListBucket/],
  [403, "InvalidAccessKeyId", "", "STORE_DENIED", /no valid credentials \(403 InvalidAccessKeyId/],
  [403, "SignatureDoesNotMatch", "", "STORE_DENIED", /no valid credentials \(403 SignatureDoesNotMatch/],
  [400, "ExpiredToken", "", "STORE_DENIED", /no valid credentials \(400 ExpiredToken/],
  [
    403,
    "RequestTimeTooSkewed",
    "",
    "STORE_DENIED",
    /clock differs from .* \(403 RequestTimeTooSkewed.*Set this machine's clock/,
  ],
  [404, "NoSuchBucket", "", "STORE_UNREACHABLE", /there is no such bucket \(404 NoSuchBucket/],
  [
    400,
    "AuthorizationHeaderMalformed",
    "<Region>eu-west-1</Region>",
    "STORE_DENIED",
    /in another region.*it is in eu-west-1/,
  ],
  [301, "PermanentRedirect", "", "STORE_DENIED", /in another region/],
  [400, "KMS.NotFoundException", "", "STORE_DENIED", /refused the request.*kms-key-id/],
  [403, "InvalidObjectState", "", "STORE_DENIED", /refused the request.*life-cycle rules that archive/],
  [403, "InvalidObjectState", "", "STORE_DENIED", /refused the request.*life-cycle rules that archive/],
  [404, "kms:KeyNotFound", "", "STORE_DENIED", /refused the request.*kms-key-id/],
  [503, "SlowDown", "", "STORE_UNREACHABLE", /responded with 503 SlowDown/],
  [500, "InternalError", "", "STORE_UNREACHABLE", /responded with 500 InternalError/],
  [429, "TooManyRequests", "", "STORE_UNREACHABLE", /responded with 429/],
  [507, "InsufficientStorage", "", "STORE_FULL", /no space left/],
  [403, "QuotaExceeded", "", "STORE_FULL", /no space left/],
  [501, "NotImplemented", "", "STORE_DENIED", /NotImplemented/],
  [400, "InvalidStorageClass", "", "STORE_DENIED", /refused the request \(400 InvalidStorageClass/],
])(
  "a service that responds with %i %s is reported with a hint",
  async (status, word, more, code, message) => {
    const { endpoint } = await answeringServer(() => ({ status, body: errorDocument(word, more) }));
    const error: unknown = await storeAt(endpoint)
      .list("")
      .catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code, hint: expect.stringMatching(/.\.$/) });
    const told = error instanceof Error ? `${error.message} ${String(Reflect.get(error, "hint"))}` : "";
    expect(told).toMatch(message);
    expect(told).toContain("s3://b/p");
    expect(told).not.toContain(KEY.secretAccessKey);
  },
);

test("a redirect that names the region in a header leads to an error that names the region", async () => {
  const headers = { "x-amz-bucket-region": "eu-west-1" };
  const { endpoint } = await answeringServer(() => ({
    status: 301,
    headers,
    body: errorDocument("PermanentRedirect"),
  }));
  await expect(storeAt(endpoint, { region: "us-west-2" }).list("")).rejects.toMatchObject({
    message: expect.stringContaining("it is in eu-west-1"),
    hint: expect.stringContaining("`region`"),
  });
});

test(
  "a request to a service that fails briefly is retried, up to the limit",
  { tags: "rest/slow" },
  async () => {
    let failures = 1;
    const server = await answeringServer(() =>
      failures-- > 0
        ? { status: 503, body: errorDocument("SlowDown") }
        : { status: 200, body: listingPage(["p/a.json"]) },
    );
    const store = storeAt(server.endpoint);
    expect(await store.list("")).toMatchObject([{ name: "a.json", bytes: 7 }]);
    expect(server.asked).toHaveLength(2);
    failures = 10;
    await expect(store.list("")).rejects.toMatchObject({ code: "STORE_UNREACHABLE" });
    expect(server.asked).toHaveLength(4);
    await expect(store.read("a.json")).rejects.toMatchObject({ code: "STORE_UNREACHABLE" });
    expect(server.asked).toHaveLength(6);
  },
);

test("a service that does not exist, or drops every connection, is unreachable", async () => {
  const { endpoint } = await answeringServer(() => "reset");
  await expect(storeAt(endpoint).list("")).rejects.toMatchObject({ code: "STORE_UNREACHABLE" });
  await expect(storeAt(await refusingEndpoint()).list("")).rejects.toMatchObject({
    code: "STORE_UNREACHABLE",
    message: expect.stringContaining("ECONNREFUSED"),
  });
});

test("a request to a service that stays silent is abandoned", async () => {
  const silent = createServer(() => undefined);
  await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void silent.close());
  const { port } = silent.address() as AddressInfo;
  const store = storeAt(`http://127.0.0.1:${port}`, { requestTimeout: 200, maxAttempts: 1 });
  await expect(store.list("")).rejects.toMatchObject({ code: "STORE_UNREACHABLE" });
});

test(
  "a service that stays silent is named long before its requests fail",
  { tags: "rest/slow" },
  async () => {
    const silent = createServer(() => undefined);
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
    onTestFinished(() => void silent.close());
    const { port } = silent.address() as AddressInfo;
    const notices: string[] = [];
    const onNotice = (sentence: string): void => void notices.push(sentence);
    const store = storeAt(`http://127.0.0.1:${port}`, { requestTimeout: 60_000, onNotice });
    const asked = Promise.allSettled([store.list(""), store.read("a.json")]);
    await vi.waitFor(() =>
      expect(notices).toEqual([expect.stringContaining("has not responded for 5 s while")]),
    );
    await store.close();
    await asked;
    expect(notices).toHaveLength(1);
  },
);

test("an https: address of a service that speaks http is distinguished from a missing service", async () => {
  const { endpoint } = await answeringServer(() => ({ status: 200 }));
  await expect(storeAt(endpoint.replace("http:", "https:")).list("")).rejects.toMatchObject({
    code: "STORE_UNREACHABLE",
    message: expect.stringMatching(/certificate|TLS/),
  });
});

test("a listing takes one request per thousand objects, and foreign names do not affect it", async () => {
  const names = Array.from({ length: 2_500 }, (_, at) => `p/checkpoint-${String(at).padStart(5, "0")}`);
  const foreign = ["p/", "p/%01", "p/a%2Fb%2Fc", "p/100%25", "q/elsewhere"];
  const { endpoint, asked } = await answeringServer(({ url }) => {
    const token = new URL(url, "http://x").searchParams.get("continuation-token");
    const at = Number(token ?? 0);
    const page = names.slice(at, at + 1000);
    const next = at + 1000 < names.length ? String(at + 1000) : undefined;
    return { status: 200, body: listingPage(at === 0 ? [...foreign, ...page] : page, next) };
  });
  expect(await storeAt(endpoint).list("checkpoint-")).toHaveLength(2_500);
  expect(asked).toHaveLength(3);
});

test("the store's clock is the date of the service's responses", async () => {
  const date = "Fri, 20 Nov 2026 06:12:26 GMT";
  const { endpoint } = await answeringServer(() => ({
    status: 200,
    headers: { date },
    body: listingPage([]),
  }));
  expect(await storeAt(endpoint).now()).toBe(Date.parse(date));
});

test("a read-only store refuses every write before it is sent", async () => {
  const { endpoint, asked } = await answeringServer(() => ({ status: 200 }));
  const store = storeAt(endpoint, { readOnly: true });
  const content = Readable.from([Buffer.from("x")]);
  const denied = { code: "STORE_DENIED", message: expect.stringContaining("read-only") };
  await expect(store.upload("a.tar", content)).rejects.toMatchObject(denied);
  await expect(store.create("a.json", "x")).rejects.toMatchObject(denied);
  await expect(store.replace("a.json", "x", "tag")).rejects.toMatchObject(denied);
  await expect(store.remove("a.json")).rejects.toMatchObject(denied);
  expect(content.destroyed).toBe(true);
  expect(asked).toEqual([]);
});

test("a refusal without a reason is reported with only its status", async () => {
  const { endpoint } = await answeringServer(() => ({ status: 503 }));
  await expect(storeAt(endpoint, { maxAttempts: 1 }).list("")).rejects.toMatchObject({
    message: expect.stringMatching(/: it responded with 503\.$/),
  });
});

test("messages about a service omit the SDK's remarks about itself", async () => {
  const silent = createServer((socket) => void socket.resume().on("error", () => undefined));
  await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void silent.close());
  const { port } = silent.address() as AddressInfo;
  const store = storeAt(`http://127.0.0.1:${port}`, { requestTimeout: 100, maxAttempts: 1 });
  await expect(store.list("")).rejects.toMatchObject({
    message: expect.stringMatching(
      /did not respond \(TimeoutError: the request socket timed out after 100 ms of inactivity\)\.$/,
    ),
  });
});

test.each(["localhost:4566", "s3.example.net", "http://", "ftp://user:hunter2@example.net"])(
  "an invalid address in the environment, %s, is refused, and is not quoted in the error",
  (value) => {
    const make = (): CheckpointStore => s3Store({ bucket: "b", env: { AWS_ENDPOINT_URL: value } });
    const expected = {
      code: "CONFIG_INVALID",
      message: "AWS_ENDPOINT_URL is not the address of an S3 service.",
    };
    expect(make).toThrow(expect.objectContaining(expected));
  },
);

test("a missing profile is named", async () => {
  const options = { credentials: { profile: "nonesuch" }, env: {} };
  await expect(storeAt("http://127.0.0.1:9", options).list("")).rejects.toMatchObject({
    code: "CONFIG_INVALID",
    message: expect.stringContaining("Region is missing; with the profile nonesuch"),
  });
  const inRegion = storeAt("http://127.0.0.1:9", { ...options, region: "eu-west-1" });
  await expect(inRegion.list("")).rejects.toMatchObject({
    code: "STORE_DENIED",
    message: expect.stringContaining("nonesuch"),
  });
});

test("buckets of the same name on two services are different stores, and messages name the service", async () => {
  const first = await refusingEndpoint();
  const [one, same, other, amazons] = [
    storeAt(first),
    storeAt(`${first}/`.replace("http://", "http://user:hunter2@")),
    storeAt(await refusingEndpoint()),
    s3Store({ bucket: "b", prefix: "/p/", region: "eu-west-1", env: {} }),
  ];
  expect(new Set([one, same, other, amazons].map(({ location }) => location))).toEqual(new Set(["s3://b/p"]));
  expect(isSamePlace(one, same)).toBe(true);
  expect(isSamePlace(one, other)).toBe(false);
  expect(isSamePlace(one, amazons)).toBe(false);
  for (const store of [one, same]) {
    const message: unknown = await store.list("").catch((error: unknown) => String(error));
    expect(message).toContain(`s3://b/p at ${first} failed`);
    expect(message).not.toContain("hunter2");
  }
});

test("a service is probed however long its responses take together", async () => {
  const ended = AbortSignal.abort(new DOMException("The operation was aborted.", "TimeoutError"));
  const limit = vi.spyOn(AbortSignal, "timeout").mockReturnValue(ended);
  onTestFinished(() => limit.mockRestore());
  const store = (await memoryS3()).store();
  expect(await store.create("a.json", "{}")).toBe(true);
});

test("a request that exceeds a time limit of its caller is one to which the service did not respond", async () => {
  const { endpoint, asked } = await answeringServer(() => ({ status: 200, body: listingPage([]) }));
  const access = s3Access(s3Settings({ bucket: "b", endpoint, credentials: KEY }), () => undefined);
  onTestFinished(() => access.close());
  const signal = AbortSignal.abort(new DOMException("The operation was aborted.", "TimeoutError"));
  await expect(access.call("listObjectsV2", {}, { doing: "listing", signal })).rejects.toMatchObject({
    code: "STORE_UNREACHABLE",
    message: expect.stringContaining("the service did not respond (TimeoutError"),
  });
  expect(asked).toEqual([]);
});

test("an error in the program stays unchanged", () => {
  const bug = new TypeError("a bug");
  const request = {
    doing: "listing",
    permission: "s3:ListBucket",
    location: "s3://b",
    profile: undefined,
  };
  expect(s3Error(bug, request)).toBe(bug);
});

test("a line break in a setting or in its variable is refused before any request, and the setting is named", () => {
  const secret = "hunter2\n";
  for (const [options, name] of [
    [{ credentials: { accessKeyId: secret, secretAccessKey: "s" } }, "access-key-id"],
    [{ credentials: { accessKeyId: "a", secretAccessKey: secret } }, "secret-access-key"],
    [{ credentials: { accessKeyId: "a", secretAccessKey: "s", sessionToken: secret } }, "session-token"],
    [{ region: secret }, "region"],
    [{ kmsKeyId: secret }, "kms-key-id"],
    [{ env: { AWS_SECRET_ACCESS_KEY: secret } }, "AWS_SECRET_ACCESS_KEY"],
  ] as const) {
    const message = expect.stringMatching(new RegExp(`^${name} of s3://b `));
    const make = (): CheckpointStore => s3Store({ bucket: "b", env: {}, ...options });
    expect(make).toThrow(expect.objectContaining({ code: "CONFIG_INVALID", message }));
    expect(make).not.toThrow("hunter2");
  }
});

test("what the SDK says about its settings is reported", async () => {
  onTestFinished(() => void vi.unstubAllEnvs());
  const file = join(await temporaryDirectory(), "token");
  vi.stubEnv("AWS_WEB_IDENTITY_TOKEN_FILE", file);
  vi.stubEnv("AWS_ROLE_ARN", "arn:aws:iam::1:role/x");
  for (const name of ["AWS_PROFILE", "AWS_ACCESS_KEY_ID"]) vi.stubEnv(name, undefined);
  const store = s3Store({ bucket: "b", endpoint: "http://127.0.0.1:9" });
  onTestFinished(() => store.close());
  await expect(store.list("")).rejects.toMatchObject({
    code: "CONFIG_INVALID",
    message: expect.stringContaining(`(ENOENT: no such file or directory, open '${file}')`),
  });
  await expect(storeAt("http://127.0.0.1:9", { region: "eu west" }).list("")).rejects.toMatchObject({
    code: "CONFIG_INVALID",
    message: expect.stringContaining("Region not accepted"),
  });
});

test("a missing region and missing credentials are reported with the parameters to set", () => {
  const request = {
    doing: "listing",
    permission: "s3:ListBucket",
    location: "s3://b",
    profile: undefined,
  };
  expect(s3Error(new Error("Region is missing"), request)).toMatchObject({
    code: "CONFIG_INVALID",
    hint: expect.stringContaining("AWS_REGION"),
  });
  const none = Object.assign(new Error("Could not load credentials."), { name: "CredentialsProviderError" });
  expect(s3Error(none, request)).toMatchObject({
    code: "STORE_DENIED",
    hint: expect.stringContaining("AWS_ACCESS_KEY_ID"),
  });
});

async function refusingEndpoint(): Promise<string> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return `http://127.0.0.1:${port}`;
}
