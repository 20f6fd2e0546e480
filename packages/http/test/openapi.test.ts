import { VERSION } from "@cairn/text";
import { Validator } from "@seriousme/openapi-schema-validator";
import { describe, expect, it } from "vitest";
import { openApiDocument } from "../src/openapi/document.ts";
import { ROUTES } from "../src/routes/routes.ts";
import { example } from "./described-node.ts";
import { serve } from "@cairn/test-support/nodes/served-node";

interface Described {
  readonly operationId: string;
  readonly parameters: readonly { readonly in: string; readonly name: string }[];
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
});
