import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { CairnClient } from "@cairn/client";
import { expect, it, onTestFinished } from "vitest";

async function first(items: AsyncIterable<unknown>): Promise<unknown> {
  for await (const item of items) return item;
  return undefined;
}

const CALLS: readonly (readonly [string, (client: CairnClient) => Promise<unknown>])[] = [
  ["get", async (client) => await client.get("pods", "a")],
  ["put", async (client) => await client.put("pods", "a", 1)],
  ["submit", async (client) => await client.submit({ ops: [["put", "pods", "a", 1]] })],
  ["transact", async (client) => await client.transact({ ops: [["put", "pods", "a", 1]] })],
  ["await", async (client) => await client.await(1)],
  ["list", async (client) => await first(client.list("pods"))],
  ["history", async (client) => await first(client.history("pods", "a"))],
  ["buckets", async (client) => await client.buckets()],
  ["policies", async (client) => await client.policies()],
  ["status", async (client) => await client.status()],
  ["watch", async (client) => await first(client.watch())],
];

/** Answers of programs that know nothing of Cairn: of a gateway, of a service with errors of the same form. */
const ANSWERS: readonly (readonly [number, string])[] = [
  [200, '{"ok":true}'],
  [404, '{"error":{"code":"NOT_FOUND","message":"No such page."}}'],
];

it.each(CALLS)("%s fails at a server that is no node, whatever JSON that answers", async (_, call) => {
  for (const [status, body] of ANSWERS) {
    const server = createServer((_request, response) => {
      response.writeHead(status, { "content-type": "application/json" }).end(body);
    }).listen(0, "127.0.0.1");
    onTestFinished(() => void server.close());
    await once(server, "listening");
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    await expect(call(new CairnClient({ urls: url, retryForMs: 0 }))).rejects.toMatchObject({
      code: "UNREACHABLE",
      message: `No Cairn node responds at ${url} (the response with status ${status} is not from a Cairn node).`,
    });
  }
});
