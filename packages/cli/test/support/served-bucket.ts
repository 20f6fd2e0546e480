import { readdir, readFile, stat } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";
import { onTestFinished } from "vitest";

/** A folder that is served as a read-only S3 bucket. */
export interface ServedBucket {
  /** The environment with which a command finds the bucket. */
  readonly env: Readonly<Record<string, string>>;
  /** Names of the files that were read, in order. */
  readonly read: string[];
}

/** Serves `folder` on a free port under any bucket name. The server is closed after the test. */
export async function servedBucket(folder: string): Promise<ServedBucket> {
  const read: string[] = [];
  const answer = async (name: string): Promise<string | Buffer> => {
    if (name !== "") {
      read.push(name);
      return await readFile(path.join(folder, name));
    }
    const contents = (await readdir(folder)).toSorted().map(async (one) => {
      const { size, mtime } = await stat(path.join(folder, one));
      return `<Contents><Key>${one}</Key><LastModified>${mtime.toISOString()}</LastModified><Size>${size}</Size></Contents>`;
    });
    const all = (await Promise.all(contents)).join("");
    return `<ListBucketResult><Name>b</Name><IsTruncated>false</IsTruncated>${all}</ListBucketResult>`;
  };
  const server = createServer((request, response) => {
    const [, , name = ""] = new URL(request.url ?? "", "http://s3").pathname.split("/");
    answer(decodeURIComponent(name)).then(
      (body) => {
        const whole = Buffer.from(body);
        const [, from = "", to = ""] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "") ?? [];
        const part =
          from === "" ? whole : whole.subarray(Number(from), to === "" ? undefined : Number(to) + 1);
        const range = { "content-range": `bytes ${from}-${Number(from) + part.length - 1}/${whole.length}` };
        return response
          .writeHead(from === "" ? 200 : 206, {
            etag: '"1"',
            "content-length": part.length,
            ...(from !== "" && range),
          })
          .end(part);
      },
      () => response.writeHead(404).end("<Error><Code>NoSuchKey</Code></Error>"),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const keys = { AWS_REGION: "r", AWS_ACCESS_KEY_ID: "k", AWS_SECRET_ACCESS_KEY: "s" };
  return { env: { ...keys, AWS_ENDPOINT_URL: `http://127.0.0.1:${port}` }, read };
}
