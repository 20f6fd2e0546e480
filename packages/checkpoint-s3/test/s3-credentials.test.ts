import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { s3Store, type S3StoreOptions } from "@cairn/checkpoint-s3";
import { temporaryDirectory } from "@cairn/test-support/stores/places";
import { expect, onTestFinished, test, vi } from "vitest";
import { errorDocument } from "./support/answering-server.ts";
import { memoryS3 } from "./support/memory-s3.ts";

const CASES: readonly (readonly [string, Partial<S3StoreOptions>])[] = [
  ["of a profile", { credentials: { profile: "default" } }],
  ["that the SDK finds", {}],
];

test.each(CASES)(
  "a key %s that is replaced in its file is used after the service has refused the one before",
  async (_where, options) => {
    const file = join(await temporaryDirectory(), "credentials");
    vi.stubEnv("AWS_SHARED_CREDENTIALS_FILE", file);
    for (const name of ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"])
      vi.stubEnv(name, undefined);
    onTestFinished(() => void vi.unstubAllEnvs());
    const provide = async (id: string): Promise<void> =>
      await writeFile(file, `[default]\naws_access_key_id = ${id}\naws_secret_access_key = secret\n`);
    await provide("old");
    const server = await memoryS3();
    const { endpoint } = server;
    const store = s3Store({ bucket: "checkpoints", endpoint, region: "us-east-1", ...options });
    onTestFinished(() => store.close());
    let valid = "old";
    server.quirks.interfere = ({ headers }, response) => {
      if (headers.authorization?.includes(`Credential=${valid}/`) === true) return false;
      response.writeHead(403, { "content-type": "application/xml" }).end(errorDocument("InvalidAccessKeyId"));
      return true;
    };
    expect(await store.list("")).toEqual([]);
    valid = "new";
    await expect(store.list("")).rejects.toMatchObject({ code: "STORE_DENIED" });
    await provide("new");
    await vi.waitFor(async () => expect(await store.list("")).toEqual([]));
  },
);
