import { once } from "node:events";
import { type IncomingMessage, request as httpRequest } from "node:http";
import { text } from "node:stream/consumers";
import { expect, it } from "vitest";
import { startedNode } from "./started-node.ts";

it.each(["If-Match", "if-none-match"])(
  "a write whose %s is sent after its body is refused, and not applied without it",
  async (name) => {
    const node = await startedNode();
    const { hostname, port } = new URL(node.url ?? "");
    const path = "/api/v1/pods/default/web-0";
    const request = httpRequest({ hostname, port, path, method: "PUT", headers: { trailer: name } });
    request.write("1");
    request.addTrailers({ [name]: '"7"' });
    request.end();
    const [answer] = (await once(request, "response")) as [IncomingMessage];
    expect([answer.statusCode, await text(answer)]).toEqual([400, expect.stringContaining("after the body")]);
    expect(await node.get({ bucket: "pods", namespace: "default", name: "web-0" })).toBeUndefined();
  },
);
