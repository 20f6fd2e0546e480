import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** An HTTP server of objects with ETags and conditional requests, in memory. */
export async function startObjectServer(): Promise<{ readonly url: string; close(): void }> {
  const objects = new Map<string, { readonly body: Buffer; readonly tag: string; readonly at: number }>();
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { pathname, searchParams } = new URL(request.url ?? "", "http://server");
    const name = decodeURIComponent(pathname.slice(1));
    const found = objects.get(name);
    if (request.method === "PUT") {
      const parts: Buffer[] = [];
      // An upload that breaks off stores nothing.
      for await (const part of request as AsyncIterable<Buffer>) parts.push(part);
      const present = objects.get(name);
      const { "if-none-match": none, "if-match": match } = request.headers;
      const isRefused = none === "*" ? present !== undefined : match !== undefined && match !== present?.tag;
      if (isRefused) return void response.writeHead(412).end();
      const body = Buffer.concat(parts);
      const tag = `"${createHash("sha256").update(body).update(String(objects.size)).digest("hex")}-${process.hrtime.bigint()}"`;
      objects.set(name, { body, tag, at: Date.now() });
      return void response.writeHead(200, { etag: tag }).end();
    }
    if (request.method === "DELETE") {
      objects.delete(name);
      return void response.writeHead(204).end();
    }
    if (name === "") {
      const prefix = searchParams.get("prefix") ?? "";
      const names = [...objects].filter(([one]) => one.startsWith(prefix));
      const files = names.map(([one, { body, at }]) => ({ name: one, bytes: body.length, modifiedAt: at }));
      return void response.writeHead(200).end(JSON.stringify(files));
    }
    if (found === undefined) return void response.writeHead(404).end();
    response.writeHead(200, { etag: found.tag, "content-length": found.body.length }).end(found.body);
  };
  const server = createServer((request, response) => {
    answer(request, response).catch(() => response.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/`,
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}
