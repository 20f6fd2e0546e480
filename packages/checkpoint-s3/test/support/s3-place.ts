import { randomBytes } from "node:crypto";
import { S3 } from "@aws-sdk/client-s3";
import { testS3, type TestS3 } from "@cairn/localstack";
import { afterAll, beforeAll, onTestFinished } from "vitest";
import { s3Store, type S3StoreOptions } from "@cairn/checkpoint-s3";
import type { CheckpointStore } from "@cairn/checkpoint";

/** A location in a service's bucket that belongs to one test. */
export interface S3Place {
  readonly s3: TestS3;
  readonly prefix: string;
  /** Opens a store at this location. The store is closed at the end of the test. */
  store(options?: Partial<S3StoreOptions>): CheckpointStore;
  /**
   * Returns the names at this location, listed with an S3 client and not through a store: objects, and unfinished
   * uploads with `?uploads` appended to their keys. Some services list uploads only by their full key, so the uploads
   * of `begun` are requested one by one.
   */
  lying(begun?: Iterable<string>): Promise<string[]>;
  /** The client that {@link lying} uses. */
  readonly client: S3;
}

/** Starts one service for all tests of a file. Returns a function that creates a location in it. */
export function s3Places(options: { readonly conditions?: boolean } = {}): () => S3Place {
  let s3: TestS3 | undefined;
  beforeAll(async () => {
    s3 = await testS3(options);
  });
  afterAll(() => s3?.close());
  return () => {
    if (s3 === undefined) throw new Error("A place must be created in a test.");
    return placeIn(s3);
  };
}

function placeIn(s3: TestS3): S3Place {
  const { bucket, endpoint, region, credentials } = s3;
  const prefix = `cairn-test/${randomBytes(8).toString("hex")}`;
  const client = new S3({ endpoint, region, credentials, forcePathStyle: true });
  onTestFinished(() => client.destroy());
  return {
    s3,
    prefix,
    client,
    store(options = {}) {
      const store = s3Store({ bucket, endpoint, region, credentials, prefix, ...options });
      onTestFinished(() => store.close());
      return store;
    },
    async lying(begun = []) {
      const where = { Bucket: bucket, Prefix: `${prefix}/` };
      const objects = (await client.listObjectsV2(where)).Contents ?? [];
      const uploads = new Map<string, string>();
      for (const Prefix of new Set([where.Prefix, ...begun])) {
        const listed = (await client.listMultipartUploads({ Bucket: bucket, Prefix })).Uploads ?? [];
        for (const { Key = "", UploadId = "" } of listed) uploads.set(UploadId, Key);
      }
      return [
        ...objects.map(({ Key = "" }) => Key.slice(prefix.length + 1)),
        ...[...uploads.values()].map((Key) => `${Key.slice(prefix.length + 1)}?uploads`),
      ];
    },
  };
}
