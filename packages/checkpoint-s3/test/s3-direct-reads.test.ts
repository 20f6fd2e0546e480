import { randomBytes } from "node:crypto";
import { chmod, writeFile } from "node:fs/promises";
import type { ServerResponse } from "node:http";
import { join } from "node:path";
import { Readable } from "node:stream";
import type { StoredRanges } from "@cairn/checkpoint";
import type { S3StoreOptions } from "@cairn/checkpoint-s3";
import { temporaryDirectory } from "@cairn/test-support/stores/places";
import { expect, onTestFinished, test, vi } from "vitest";
import { errorDocument } from "./support/answering-server.ts";
import { memoryS3, type MemoryS3, type S3Asked } from "./support/memory-s3.ts";
import { isSigned } from "./support/s3-signature.ts";

const CONTENT = randomBytes(10_000);
const BUCKET = "checkpoints";

async function scene(
  options: Partial<S3StoreOptions> = {},
): Promise<{ server: MemoryS3; ranges: StoredRanges }> {
  const server = await memoryS3();
  const store = server.store(options);
  await store.upload("log-a/1.segment", Readable.from([CONTENT], { objectMode: false }));
  const ranges = await store.openRanges?.("log-a/1.segment");
  if (ranges === undefined) throw new Error("The store has no openRanges.");
  server.asked.length = 0;
  return { server, ranges };
}

async function expectRange(ranges: StoredRanges, start: number): Promise<void> {
  expect((await ranges.read(start, start + 10)).equals(CONTENT.subarray(start, start + 10))).toBe(true);
}

function isOfSdk({ headers }: S3Asked): boolean {
  return "amz-sdk-invocation-id" in headers;
}

/** Returns n of the access key `key-n` with which a request was signed for the region of the profile. */
function idOf(asked: S3Asked | undefined): string | undefined {
  return /Credential=key-(\d+)\/\d+\/eu-west-3\//.exec(asked?.headers.authorization ?? "")?.[1];
}

test.each([{ prefix: "cairn/test" }, { prefix: "" }, { prefix: "two words/ü+(1)" }])(
  "ranges are requested without the SDK after the first, each with its own signature: $prefix",
  async ({ prefix }) => {
    const credentials = { accessKeyId: "key", secretAccessKey: "secret", sessionToken: "token" };
    const { server, ranges } = await scene({ prefix, credentials });
    for (const start of [0, 500, 9_000]) await expectRange(ranges, start);
    expect(server.asked.map(isOfSdk)).toEqual([true, false, false]);
    const conditions = [[], ["if-match"], ["if-match"]];
    const signed = server.asked.map((asked, at) =>
      isSigned(asked, { bucket: BUCKET, secretAccessKey: "secret" }, [
        "range",
        "x-amz-security-token",
        ...(conditions[at] ?? []),
      ]),
    );
    expect(signed).toEqual([true, true, true]);
    const [first, second] = server.asked;
    expect(second?.headers["user-agent"]).toBe(first?.headers["user-agent"]);
  },
);

test("requests without the SDK have the region of a profile, and the credentials that its provider renews", async () => {
  const dir = await temporaryDirectory();
  const [config, command, count] = [join(dir, "config"), join(dir, "credentials.sh"), join(dir, "count")];
  await writeFile(config, `[profile renewed]\nregion = eu-west-3\ncredential_process = ${command}\n`);
  // The SDK renews credentials five minutes before they expire, so it runs this program again and again.
  const Expiration = new Date(Date.now() + 60_000).toISOString();
  const key = {
    Version: 1,
    AccessKeyId: "key-$n",
    SecretAccessKey: "secret-$n",
    SessionToken: "token-$n",
    Expiration,
  };
  const script = `#!/bin/sh\nprintf x >> ${count}\nn=$(($(wc -c < ${count})))\ncat <<END\n${JSON.stringify(key)}\nEND\n`;
  await writeFile(command, script);
  await chmod(command, 0o755);
  vi.stubEnv("AWS_CONFIG_FILE", config);
  onTestFinished(() => void vi.unstubAllEnvs());
  const { server, ranges } = await scene({ credentials: { profile: "renewed" } });
  await expectRange(ranges, 0);
  do await expectRange(ranges, 10);
  while (idOf(server.asked.at(-1)) === idOf(server.asked[1]));
  expect(server.asked.map(isOfSdk)).toEqual(server.asked.map((_, at) => at === 0));
  for (const asked of server.asked) {
    const id = String(idOf(asked));
    expect(asked.headers["x-amz-security-token"]).toBe(`token-${id}`);
    expect(isSigned(asked, { bucket: BUCKET, secretAccessKey: `secret-${id}` }, ["range"])).toBe(true);
  }
});

/** The responses that a request without the SDK may receive. */
const OTHER_RESPONSES: Readonly<Record<string, (response: ServerResponse) => unknown>> = {
  "an expired token": (response) => response.writeHead(403).end(errorDocument("ExpiredToken")),
  "a busy service": (response) => response.writeHead(503).end(errorDocument("SlowDown")),
  "a redirect": (response) => response.writeHead(307, { location: "http://127.0.0.1:1/" }).end(),
  "a whole object": (response) => response.writeHead(200).end(CONTENT),
  "a lost connection": (response) => response.destroy(),
  "a half header": (response) => response.socket?.end("HTTP/1.1 206 Partial"),
};

test.each(Object.entries(OTHER_RESPONSES))(
  "%s in response to a request without the SDK is left to the SDK",
  async (_, respond) => {
    const { server, ranges } = await scene();
    await expectRange(ranges, 0);
    let times = 1;
    server.quirks.interfere = (_asked, response) => {
      if (times-- <= 0) return false;
      respond(response);
      return true;
    };
    await expectRange(ranges, 10);
    await expectRange(ranges, 20);
    expect(server.asked.map(isOfSdk)).toEqual([true, false, true, false]);
  },
);

test("a request without the SDK can be aborted, and is then not repeated", async () => {
  const { server, ranges } = await scene();
  await expectRange(ranges, 0);
  const stop = new AbortController();
  server.quirks.interfere = () => {
    stop.abort(new Error("enough"));
    return true;
  };
  await expect(ranges.read(10, 20, stop.signal)).rejects.toThrow("enough");
  expect(server.asked.map(isOfSdk)).toEqual([true, false]);
});
