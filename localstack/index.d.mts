/** An S3 service with one bucket. */
export interface TestS3 {
  /** For the titles of tests. */
  readonly name: string;
  readonly endpoint: string;
  readonly bucket: string;
  readonly region: string;
  readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string };
  /** Known of its own service only; of others a store finds it out. */
  readonly ignoresConditions: boolean;
  close(): Promise<void>;
}

/**
 * The service that `CAIRN_TEST_S3_ENDPOINT` (with `_BUCKET`, `_ACCESS_KEY`, `_SECRET_KEY`, `_REGION`) names, else a small one of this
 * package in a process of its own, with its objects in files below the temporary directory. `conditions` is of that one: whether it
 * compares before it writes.
 */
export function testS3(options?: {
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly conditions?: boolean;
}): Promise<TestS3>;
