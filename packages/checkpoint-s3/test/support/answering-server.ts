import { createServer } from "node:http";
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { onTestFinished } from "vitest";

/** A request as it was received. */
export interface Asked {
  readonly method: string;
  /** The path and the query. */
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** A response. With `reset`, the connection is reset instead. */
export type Answer =
  | { readonly status: number; readonly headers?: Record<string, string>; readonly body?: string | Buffer }
  | "reset";

/** A real HTTP server that sends the responses that a test chooses. It is stopped at the end of the test. */
export interface AnsweringServer {
  readonly endpoint: string;
  readonly asked: Asked[];
}

/** Starts a server on a free port. */
export async function answeringServer(answer: (asked: Asked) => Answer): Promise<AnsweringServer> {
  const asked: Asked[] = [];
  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const pieces: Buffer[] = [];
    for await (const piece of request) pieces.push(Buffer.from(piece));
    const { method = "", url = "", headers } = request;
    const one = { method, url, headers, body: Buffer.concat(pieces) };
    asked.push(one);
    const said = answer(one);
    if (said === "reset") request.socket.destroy();
    else response.writeHead(said.status, said.headers ?? {}).end(said.body ?? "");
  };
  const server = createServer((request, response) => {
    handle(request, response).catch((error: unknown) => {
      // The client closed the connection during the request.
      if (!request.destroyed) throw error;
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { endpoint: `http://127.0.0.1:${port}`, asked };
}

/** Returns an error document in S3's format. */
export function errorDocument(code: string, more = ""): string {
  return `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>It says ${code}.</Message>${more}<RequestId>1</RequestId></Error>`;
}

/** Returns a page of a listing in S3's format, with arbitrary sizes and times unless they are given. */
export function listingPage(
  names: readonly string[],
  next?: string,
  objects?: ReadonlyMap<string, { readonly body: Buffer; readonly at: Date }>,
): string {
  const contents = names.map((name) => {
    const object = objects?.get(name);
    const at = object?.at.toISOString() ?? "2026-11-20T06:00:00.000Z";
    return `<Contents><Key>${name}</Key><LastModified>${at}</LastModified><ETag>"1"</ETag><Size>${object?.body.length ?? 7}</Size></Contents>`;
  });
  const token = next === undefined ? "" : `<NextContinuationToken>${next}</NextContinuationToken>`;
  const more = `<IsTruncated>${next !== undefined}</IsTruncated>${token}`;
  return `<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name><EncodingType>url</EncodingType>${more}${contents.join("")}</ListBucketResult>`;
}
