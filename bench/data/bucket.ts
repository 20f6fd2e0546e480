import { S3 } from "@aws-sdk/client-s3";
import { testS3, type TestS3 } from "@cairn/localstack";
import { type LimitedLink, limitedLink } from "../harness/limited-link.ts";

/**
 * The location of a bucket, with everything that a step needs to reach it. It is sent to the step's process as JSON.
 */
export type BucketPlace = Pick<TestS3, "endpoint" | "bucket" | "region" | "credentials"> & {
  readonly prefix: string;
};

/**
 * The S3 service that the environment names (`CAIRN_TEST_S3_ENDPOINT`, …), or else the small one in localstack/ in a
 * separate process.
 */
export class BucketServer {
  readonly name: string;
  readonly #server: TestS3;
  readonly #link: LimitedLink | undefined;

  private constructor(server: TestS3, link: LimitedLink | undefined) {
    this.name = server.name;
    this.#server = server;
    this.#link = link;
  }

  /**
   * Starts the service. With `bytesPerSecond`, locations are reached over a link with that rate in each direction, on
   * which every response is `delayMs` late.
   */
  static async start(bytesPerSecond?: number, delayMs = 0): Promise<BucketServer> {
    const server = await testS3();
    if (bytesPerSecond === undefined) return new BucketServer(server, undefined);
    const { hostname, port } = new URL(server.endpoint);
    return new BucketServer(
      server,
      await limitedLink({ host: hostname, port: Number(port) }, bytesPerSecond, delayMs),
    );
  }

  /** Returns a location in the bucket. `name` must be new, so that the location is empty. */
  place(name: string): BucketPlace {
    const { bucket, region, credentials } = this.#server;
    const endpoint = this.#link === undefined ? this.#server.endpoint : `http://127.0.0.1:${this.#link.port}`;
    return { endpoint, bucket, region, credentials, prefix: `cairn-bench/${name}` };
  }

  /** Deletes all objects at a location. */
  async empty({ bucket: Bucket, prefix }: BucketPlace): Promise<void> {
    const { endpoint, region, credentials } = this.#server;
    const client = new S3({ endpoint, region, credentials, forcePathStyle: true });
    const { Contents = [] } = await client.listObjectsV2({ Bucket, Prefix: `${prefix}/` });
    for (const { Key } of Contents) if (Key !== undefined) await client.deleteObject({ Bucket, Key });
    client.destroy();
  }

  async close(): Promise<void> {
    await this.#link?.close();
    await this.#server.close();
  }
}
