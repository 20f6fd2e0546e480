import { readFile } from "node:fs/promises";
import { VERSION } from "@cairn/text";
import { Validator } from "@seriousme/openapi-schema-validator";
import { describe, expect, it } from "vitest";
import { openApiDocument } from "../src/openapi/document.ts";
import { ROUTES } from "../src/routes/routes.ts";
import { example } from "./described-node.ts";
import { serve } from "@cairn/test-support/nodes/served-node";

interface Described {
  readonly operationId: string;
  readonly parameters: readonly {
    readonly in: string;
    readonly name: string;
    readonly schema: { readonly pattern?: string };
  }[];
  readonly responses: Readonly<Record<string, unknown>>;
}

const document = openApiDocument(VERSION, ROUTES) as {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Described>>>>;
};

const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, described]) => ({ path, method: method.toUpperCase(), described })),
);

describe("GET /openapi.json", () => {
  it("returns a document that an OpenAPI validator accepts", async () => {
    await using served = await serve();
    const answer = await served.fetch("/openapi.json");
    expect([answer.status, answer.headers.get("content-type")]).toEqual([
      200,
      "application/json; charset=utf-8",
    ]);
    const validator = new Validator();
    const result = await validator.validate((await answer.json()) as Record<string, unknown>);
    expect(result).toEqual({ valid: true });
    expect(validator.version).toBe("3.0");
    const broken = { ...document, paths: { "/status": { get: { responses: {} } } } };
    expect((await new Validator().validate(broken)).valid).toBe(false);
  });

  it("returns every route once, with a unique id", () => {
    const ids = operations.map(({ described }) => described.operationId);
    expect(new Set(ids).size).toBe(ROUTES.length);
  });

  it("has the operations that programs with generated clients use, which run with the judges from outside", async () => {
    const scenario = await readFile(
      new URL("../../../test/outside/clients/scenario.py", import.meta.url),
      "utf8",
    );
    const apis = "documents|transactions|events|policies|queues|checkpoints|itself";
    const kinds = "_with_http_info|_without_preload_content";
    const used = scenario.matchAll(new RegExp(`(?<![.\\w])(?:${apis})\\.(\\w+?)(?:${kinds})?\\(`, "g"));
    const ids = operations.map(({ described }) =>
      described.operationId.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
    );
    expect([...new Set([...used].map(([, name]) => name))].toSorted()).toEqual(ids.toSorted());
  });

  it.each(operations)(
    "$method $path accepts the parameters that are described",
    async ({ path, method, described }) => {
      await using served = await serve();
      // A node that receives an unknown parameter names the accepted ones.
      const answer = await served.raw(method, `${example(path)}?no-such-parameter=1`, {
        ...(method === "PUT" || method === "POST" ? { body: "{}" } : {}),
        headers: path.endsWith("batch") ? { "content-type": "text/plain" } : {},
      });
      expect(answer.status).toBe(400);
      const { error } = JSON.parse(answer.text) as { error: { hint: string } };
      const known = (/^Use only the parameters of this address: (.*)\.$/.exec(error.hint)?.[1] ?? "")
        .split(", ")
        .filter((name) => name !== "");
      const told = described.parameters
        .filter((parameter) => parameter.in === "query")
        .map(({ name }) => name);
      expect(told.toSorted()).toEqual(known.toSorted());
      expect(described.responses).toHaveProperty("400");
    },
  );

  const TAGS = [
    '"7"',
    'W/"7"',
    "7",
    "*",
    '"1", "2"',
    '"7", "x"',
    ', "7"',
    '"0"',
    '"07"',
    '"x"',
    "",
    '"7',
    "9".repeat(15),
    "9".repeat(16),
  ];
  const conditional = operations.filter(({ described }) =>
    described.parameters.some(({ name }) => name === "If-Match"),
  );
  it.each(conditional)(
    "$method $path accepts exactly the preconditions that are described",
    async ({ path, method, described }) => {
      await using served = await serve();
      const address = `${example(path)}${path.endsWith("/document") ? "?key=web" : ""}`;
      const headers = described.parameters.filter((parameter) => parameter.in === "header");
      for (const { name, schema } of headers) {
        const isDescribed = TAGS.map((tag) => new RegExp(schema.pattern ?? "").test(tag));
        const answers = TAGS.map(async (tag) => {
          const body = method === "PUT" ? { body: "{}" } : {};
          return (await served.raw(method, address, { ...body, headers: { [name]: tag } })).status !== 400;
        });
        expect([name, await Promise.all(answers)]).toEqual([name, isDescribed]);
      }
    },
  );
});
