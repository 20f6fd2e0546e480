import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { describe, expect, it } from "vitest";
import { serve } from "@cairn/test-support/nodes/served-node";

interface Refusal {
  readonly message: string;
  readonly hint: string;
}

function refusalOf(answer: string): Refusal {
  return (JSON.parse(answer) as { readonly error: Refusal }).error;
}

describe("an escape in an address that is not UTF-8", () => {
  it.each(["/api/v1/pods/caf%E9", "/api/v1/pods?prefix=caf%E9", "/api/v1/checkpoints/caf%E9/verify"])(
    "is refused with a hint whose escapes are accepted: %s",
    async (path) => {
      await using served = await serve();
      const method = path.endsWith("verify") ? "POST" : "GET";
      const answer = await served.raw(method, path);
      expect(answer.status).toBe(400);
      const { message, hint } = refusalOf(answer.text);
      expect(message).toMatch(/^The (?:address|query) has a percent escape that is malformed or not UTF-8/);
      expect(hint).toContain("é as %C3%A9");
      const followed = await served.raw(method, path.replace("%E9", "%C3%A9"));
      expect(followed.text).not.toContain("escape");
    },
  );
});

describe("the parameter key", () => {
  it.each(["?key", "?key=", "?limit=1&key"])("without a value is recognized: %s", async (query) => {
    await using served = await serve();
    const { status, text: answer } = await served.raw("PUT", `/api/v1/pods${query}`, { body: "1" });
    expect(status).toBe(400);
    expect(refusalOf(answer).message).not.toContain('"key"');
  });

  it("may be escaped, like every other parameter", async () => {
    await using served = await serve();
    expect((await served.raw("PUT", "/api/v1/pods?k%65y=x", { body: "1" })).status).toBe(201);
    expect((await served.raw("GET", "/api/v1/pods?k%65y=default/x")).text).toBe("1\n");
  });
});

it("an address below one that exists is named, with no claim about its method", async () => {
  await using served = await serve();
  const { status, text: answer } = await served.raw("GET", "/api/v1/digest/x");
  expect([status, refusalOf(answer).message]).toEqual([404, "There is nothing at /api/v1/digest/x."]);
});

it("the limits of an event's time are in the hint", async () => {
  await using served = await serve();
  for (const time of ["9223372036854775808", "007"]) {
    const answer = await served.post("/api/v1/events", { object: "a", reason: "b", time });
    expect(refusalOf(await answer.text()).hint).toContain(
      "at most 9223372036854775807, without leading zeros",
    );
  }
  const most = { object: "a", reason: "b", time: "9223372036854775807" };
  expect((await served.post("/api/v1/events", most)).status).toBe(201);
});

it("the hint of a large body applies to one that cannot be divided", async () => {
  await using served = await serve({ maxBody: 1_000 });
  const body = `"${"x".repeat(2_000)}"`;
  const { text: answer } = await served.raw("PUT", "/api/v1/pods/x", { body });
  expect(refusalOf(answer).hint).toMatch(/^Send a smaller body/);
});

it.each([
  ["Content-Length: 1\r\nContent-Length: 2\r\n\r\n", /Content-Length/],
  ["Transfer-Encoding: chunked\r\n\r\nzz\r\n", /chunk size/],
  ["Content-Length: 2\r\n\r\n1", /EOF/],
])("a request that is not valid HTTP is refused with the reason: %j", async (rest, reason) => {
  await using served = await serve();
  const socket = connect(served.server.port, "127.0.0.1");
  socket.end(`PUT /api/v1/pods/x HTTP/1.1\r\nHost: localhost\r\n${rest}`);
  const answer = await text(socket);
  expect(refusalOf(answer.slice(answer.indexOf("{"))).message).toMatch(reason);
});
