import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { describe, expect, it } from "vitest";
import { prefersProblem } from "../../../src/http/answers/error-answer.ts";
import { validator } from "../described-node.ts";
import { type RawAnswer, serve, type ServedNode } from "../served-node.ts";

const PROBLEM = "application/problem+json";
const TYPE = `${PROBLEM}; charset=utf-8`;

it.each([
  [undefined, false],
  ["*/*", false],
  ["application/*", false],
  ["application/json", false],
  ["text/html", false],
  ["text/event-stream", false],
  [PROBLEM, true],
  ["Application/Problem+JSON", true],
  [`${PROBLEM};q=0.3`, true],
  [`${PROBLEM}; charset=utf-8; q=0.3 , text/html`, true],
  [`${PROBLEM};q=0`, false],
  [`${PROBLEM};q=0.000, */*`, false],
  [`${PROBLEM};q=much`, false],
  [`${PROBLEM}, */*`, true],
  [`${PROBLEM};q=0.9, */*`, false],
  [`*/*;q=0.1, ${PROBLEM};q=0.2`, true],
  [`${PROBLEM};q=0.5, application/*;q=0.4, */*`, true],
  // Generated clients accept everything that an operation returns, and must still receive the usual form.
  [`application/json, ${PROBLEM}`, false],
  [`application/json;q=0.9, ${PROBLEM}`, true],
  [`application/json, ${PROBLEM};q=0.9`, false],
  [`application/json;q=0, ${PROBLEM};q=0.1`, true],
])("Accept: %s asks for problem details: %s", (accept, prefers) => {
  expect(prefersProblem(accept)).toBe(prefers);
});

type Asked = [what: string, method: string, path: string, body?: string];
const REFUSED: Asked[] = [
  ["no address", "GET", "/nothing"],
  ["no document", "GET", "/api/v1/pods/no%20one?min-tx=0"],
  ["another method", "PATCH", "/status"],
  ["a parameter", "GET", "/status?x=1"],
  ["a large body", "PUT", "/api/v1/pods/x", `"${"x".repeat(2_000)}"`],
  ["an invalid body", "PUT", "/api/v1/pods/x", "{"],
  ["a line of a batch", "POST", "/api/v1/tx/batch", "{"],
  ["policies", "PUT", "/api/v1/policies", '{"index":{}}'],
];

async function ask(served: ServedNode, [, method, path, body]: Asked, accept?: string): Promise<RawAnswer> {
  const type = path.endsWith("batch") ? { "content-type": "application/x-ndjson" } : {};
  const headers = { ...type, ...(accept === undefined ? {} : { accept }) };
  return await served.raw(method, path, { headers, ...(body === undefined ? {} : { body }) });
}

describe("problem details", () => {
  it.each(REFUSED)(
    "of %s contain the same information as the usual form, as described in the OpenAPI document",
    async (...asked) => {
      await using served = await serve({ maxBody: 1_000 });
      const usual = await ask(served, asked);
      const told = await ask(served, asked, PROBLEM);
      expect([usual.headers["content-type"], told.headers["content-type"]]).toEqual([
        "application/json; charset=utf-8",
        TYPE,
      ]);
      expect([usual.headers.vary, told.headers.vary]).toEqual(["accept", "accept"]);
      expect(told.status).toBe(usual.status);
      expect(Number(told.headers["content-length"])).toBe(Buffer.byteLength(told.text));
      expect(told.text).toMatch(/\}\n$/);
      const { error, ...besides } = JSON.parse(usual.text) as {
        error: { code: string; message: string; hint: string };
      };
      const { status, title, type, instance, detail, ...members } = JSON.parse(told.text) as Record<
        string,
        unknown
      >;
      expect({ error: { code: members["code"], message: detail, hint: members["hint"] } }).toEqual({ error });
      const { code: _code, hint: _hint, ...rest } = members;
      expect(rest).toEqual(besides);
      expect([status, type]).toEqual([usual.status, "about:blank"]);
      expect(title).toMatch(/^[A-Z]/);
      const [path = ""] = asked[2].split("?");
      expect(instance).toBe(`${path}#${told.headers["x-request-id"] as string}`);
      const isAsSaid = validator({ $ref: "#/components/schemas/Problem" });
      expect([isAsSaid(JSON.parse(told.text)), isAsSaid.errors]).toEqual([true, null]);
      const head =
        asked[1] === "GET" ? await served.raw("HEAD", asked[2], { headers: { accept: PROBLEM } }) : told;
      expect([head.status, head.headers["content-type"]]).toEqual([told.status, TYPE]);
    },
  );

  it("contain no details of an internal error", async () => {
    await using served = await serve();
    served.node.submitError = new TypeError("secret is not a function");
    const told = await ask(served, ["", "PUT", "/api/v1/pods/x", "1"], PROBLEM);
    expect([told.status, told.text]).toEqual([500, expect.not.stringContaining("secret")]);
    expect(JSON.parse(told.text)).toMatchObject({ title: "Internal Server Error", code: "INTERNAL" });
  });

  it("are sent even for an unknown Expect header", async () => {
    await using served = await serve();
    const socket = connect(served.server.port, "127.0.0.1");
    socket.end(
      `PUT /api/v1/a/b HTTP/1.1\r\nHost: localhost\r\nAccept: ${PROBLEM}\r\nExpect: more\r\nContent-Length: 1\r\n\r\n1`,
    );
    const answer = await text(socket);
    expect(answer).toMatch(/^HTTP\/1\.1 417 [^]*application\/problem\+json[^]*"status":417/);
  });

  it("leave successful responses unchanged, and make the Vary header of errors list both Origin and Accept", async () => {
    await using served = await serve({ corsOrigins: ["https://page.example"] });
    await served.put("/api/v1/pods/x", 1);
    const found = await served.raw("GET", "/api/v1/pods/x", { headers: { accept: PROBLEM } });
    expect([found.status, found.headers["content-type"], found.headers.vary]).toEqual([
      200,
      "application/json; charset=utf-8",
      "origin",
    ]);
    expect((await served.raw("GET", "/api/v1/pods/y")).headers.vary).toBe("origin, accept");
  });
});
