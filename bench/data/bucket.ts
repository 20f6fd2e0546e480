import { S3 } from "@aws-sdk/client-s3";
import { testS3, type TestS3 } from "@cairn/localstack";
import { type LimitedLink, limitedLink } from "../harness/limited-link.ts";

/**
 * The location of a bucket, with everything that a step needs to reach it. It is sent to the step's process as JSON.
 */
export type BucketPlace = Pick<TestS3, "endpoint" | "bucket" | "region" | "credentials"> & {
  readonly prefix: string;
};

/** The number of requests that are sent at once. */
const AT_ONCE = 32;

/**
 * The S3 service that the environment names (`CAIRN_TEST_S3_ENDPOINT`, …), or else the small one in localstack/ in a
 * separate process.
 */
export class BucketServer {
  readonly name: string;
  readonly #server: TestS3;
  readonly #client: S3;
  readonly #link: LimitedLink | undefined;

  private constructor(server: TestS3, link: LimitedLink | undefined) {
    this.name = server.name;
    this.#server = server;
    const { endpoint, region, credentials } = server;
    this.#client = new S3({ endpoint, region, credentials, forcePathStyle: true });
    this.#link = link;
  }

  /**
   * Starts the service. With `bytesPerSecond`, locations are reached over a link with that rate in each direction, on
   * which every response is `delayMs` late.
   */
  static async start(bytesPerSecond?: number, delayMs = 0): Promise<BucketServer> {
    const server = await testS3();
    return new BucketServer(
      server,
      bytesPerSecond === undefined ? undefined : await linkTo(server, bytesPerSecond, delayMs),
    );
  }

  /** Returns a location in the bucket. `name` must be new, so that the location is empty. */
  place(name: string): BucketPlace {
    const { endpoint, bucket, region, credentials } = this.#server;
    const place = { endpoint, bucket, region, credentials, prefix: `cairn-bench/${name}` };
    return this.#link === undefined ? place : over(this.#link, place);
  }

  /** Returns another link to the service, which the caller must close. */
  async link(bytesPerSecond = Infinity): Promise<LimitedLink> {
    return await linkTo(this.#server, bytesPerSecond, 0);
  }

  /** Returns the sizes of all objects at a location, by their names there. */
  async objects({ bucket: Bucket, prefix }: BucketPlace): Promise<Map<string, number>> {
    const found = new Map<string, number>();
    const Prefix = `${prefix}/`;
    let token: string | undefined;
    do {
      const page = await this.#client.listObjectsV2({ Bucket, Prefix, ContinuationToken: token });
      for (const { Key = "", Size = 0 } of page.Contents ?? []) found.set(Key.slice(Prefix.length), Size);
      token = page.NextContinuationToken;
    } while (token !== undefined);
    return found;
  }

  async read({ bucket: Bucket, prefix }: BucketPlace, name: string): Promise<Uint8Array> {
    const { Body } = await this.#client.getObject({ Bucket, Key: `${prefix}/${name}` });
    if (Body === undefined) throw new Error(`${name} has no content`);
    return await Body.transformToByteArray();
  }

  async write({ bucket: Bucket, prefix }: BucketPlace, name: string, content: Uint8Array): Promise<void> {
    await this.#client.putObject({ Bucket, Key: `${prefix}/${name}`, Body: content });
  }

  /** Copies all objects at a location to another one. */
  async copy(from: BucketPlace, to: BucketPlace): Promise<void> {
    for (const name of (await this.objects(from)).keys())
      await this.write(to, name, await this.read(from, name));
  }

  /** Deletes all objects at a location. */
  async empty(place: BucketPlace): Promise<void> {
    const { bucket: Bucket, prefix } = place;
    const names = [...(await this.objects(place)).keys()];
    const remove = (name: string): Promise<unknown> =>
      this.#client.deleteObject({ Bucket, Key: `${prefix}/${name}` });
    for (let from = 0; from < names.length; from += AT_ONCE)
      await Promise.all(names.slice(from, from + AT_ONCE).map(remove));
  }

  async close(): Promise<void> {
    this.#client.destroy();
    await this.#link?.close();
    await this.#server.close();
  }
}

/** Returns a location as it is reached over a link. */
export function over({ port }: LimitedLink, place: BucketPlace): BucketPlace {
  return { ...place, endpoint: `http://127.0.0.1:${port}` };
}

async function linkTo({ endpoint }: TestS3, bytesPerSecond: number, delayMs: number): Promise<LimitedLink> {
  const { hostname, port } = new URL(endpoint);
  return await limitedLink({ host: hostname, port: Number(port) }, bytesPerSecond, delayMs);
}
