import { S3 } from "@aws-sdk/client-s3";
import { testS3, type TestS3 } from "@cairn/localstack";

/** What a step needs to reach the bucket; goes to its process as JSON. */
export type BucketPlace = Pick<TestS3, "endpoint" | "bucket" | "region" | "credentials"> & {
  readonly prefix: string;
};

/** The S3 service that the environment names (`CAIRN_TEST_S3_ENDPOINT`, …), else the small one of localstack in a process of its own. */
export class BucketServer {
  readonly name: string;
  readonly #server: TestS3;

  private constructor(server: TestS3) {
    this.name = server.name;
    this.#server = server;
  }

  static async start(): Promise<BucketServer> {
    return new BucketServer(await testS3());
  }

  /** A place that nothing lies at yet. */
  place(name: string): BucketPlace {
    const { endpoint, bucket, region, credentials } = this.#server;
    return { endpoint, bucket, region, credentials, prefix: `cairn-bench/${name}` };
  }

  /** Removes what lies at a place. */
  async empty({ bucket: Bucket, prefix }: BucketPlace): Promise<void> {
    const { endpoint, region, credentials } = this.#server;
    const client = new S3({ endpoint, region, credentials, forcePathStyle: true });
    const { Contents = [] } = await client.listObjectsV2({ Bucket, Prefix: `${prefix}/` });
    for (const { Key } of Contents) if (Key !== undefined) await client.deleteObject({ Bucket, Key });
    client.destroy();
  }

  close(): Promise<void> {
    return this.#server.close();
  }
}
