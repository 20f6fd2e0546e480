/** An S3 service with one bucket. */
export interface TestS3 {
  /** The name of the service, for test titles. */
  readonly name: string;
  readonly endpoint: string;
  readonly bucket: string;
  readonly region: string;
  readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string };
  /**
   * Whether the service ignores conditions of writes. Known only for this package's service; a store probes other
   * services.
   */
  readonly ignoresConditions: boolean;
  close(): Promise<void>;
}

/**
 * Returns the service that `CAIRN_TEST_S3_ENDPOINT` (with `_BUCKET`, `_ACCESS_KEY`, `_SECRET_KEY`, `_REGION`) names, or else starts this
 * package's small one in a separate process, with its objects in the temporary directory. `conditions`: whether the small service checks
 * conditions of writes; true by default.
 */
export function testS3(options?: {
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly conditions?: boolean;
}): Promise<TestS3>;
