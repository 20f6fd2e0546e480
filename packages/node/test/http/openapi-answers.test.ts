import { Ajv, type ValidateFunction } from "ajv";
import { request as httpRequest } from "node:http";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type CairnNode, startNode } from "../../src/index.ts";
import { openApiDocument } from "../../src/http/openapi/document.ts";

type Schema = { readonly [name: string]: unknown };

interface Answered {
  readonly description: string;
  readonly headers?: Readonly<Record<string, unknown>>;
  readonly content?: Readonly<Record<string, { readonly schema: Schema }>>;
}

interface Described {
  readonly operationId: string;
  readonly method: string;
  readonly path: string;
  readonly responses: Readonly<Record<string, Answered>>;
}

const document = openApiDocument("0.1.0") as {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Omit<Described, "method" | "path">>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> };
};
const operations = new Map(
  Object.entries(document.paths).flatMap(([at, methods]) =>
    Object.entries(methods).map(
      ([method, one]) =>
        [one.operationId, { ...one, method: method.toUpperCase(), path: at }] as [string, Described],
    ),
  ),
);

/** A schema of OpenAPI 3.0 as JSON Schema, in which nothing may be that it does not name. */
function strict(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(strict);
  if (schema === null || typeof schema !== "object") return schema;
  const { nullable, format: _format, ...rest } = schema as Schema;
  const inner = Object.fromEntries(Object.entries(rest).map(([name, value]) => [name, strict(value)]));
  const closed =
    inner["properties"] === undefined || inner["additionalProperties"] !== undefined
      ? inner
      : { ...inner, additionalProperties: false };
  return nullable === true ? { anyOf: [closed, { type: "null" }] } : closed;
}

/** The schemas stand under `properties` of one, whose references lead to them. */
const ajv = new Ajv({ strict: false }).addSchema({
  $id: "document",
  components: { schemas: strict(document.components.schemas) },
});
const validators = new Map<unknown, ValidateFunction>();

function validator(schema: Schema): ValidateFunction {
  const known = validators.get(schema);
  if (known !== undefined) return known;
  const text = JSON.stringify(strict(schema)).replaceAll('"#/components', '"document#/components');
  const made = ajv.compile(JSON.parse(text) as Schema);
  validators.set(schema, made);
  return made;
}

let folder = "";
let node: CairnNode;
/** What was answered, as `operation status`. */
const seen = new Set<string>();
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-openapi-"));
  node = await startNode(
    {
      "cairn/node": { id: "n1", dir: folder },
      "cairn/index-store": {
        "kv-store": {
          "cairn/module": "cairn.leveldb/->kv-store",
          checkpointer: {
            "cairn/module": "cairn.checkpoint/->checkpointer",
            store: {
              "cairn/module": "cairn.checkpoint/->filesystem-checkpoint-store",
              path: path.join(folder, "checkpoints"),
            },
            "approx-frequency": "PT6H",
          },
        },
      },
      "cairn/http-server": { port: 0, "max-body": 5_000 },
    },
    { env: {}, cwd: folder },
  );
  await node.ready;
});
afterAll(async () => {
  await node.close();
  await rm(folder, { recursive: true, force: true });
});

interface Sent {
  /** In place of the path's parameters, then what follows. */
  readonly at?: string;
  readonly body?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Sends a request of an operation, and compares what comes with what the document says of it. */
async function answerOf(id: string, status: number, { at, body, headers = {} }: Sent = {}): Promise<unknown> {
  const operation = operations.get(id);
  if (operation === undefined) throw new Error(`there is no operation ${id}`);
  const { method, responses } = operation;
  const answer = await send(method, at ?? operation.path, body, headers);
  expect([id, answer.status, answer.text]).toEqual([id, status, answer.text]);
  const described = responses[String(status)];
  if (described === undefined) throw new Error(`${id} does not say that it answers ${status}`);
  for (const name of ["cairn-tx", "etag", "link", "location"]) {
    if (answer.headers[name] === undefined || status >= 400) continue;
    expect([id, Object.keys(described.headers ?? {}).map((one) => one.toLowerCase())]).toEqual([
      id,
      expect.arrayContaining([name]),
    ]);
  }
  seen.add(`${id} ${status}`);
  const [[type, { schema }] = [undefined, { schema: {} }]] = Object.entries(described.content ?? {});
  expect([id, answer.headers["content-type"]?.split(";")[0]]).toEqual([id, type]);
  if (type !== "application/json") return undefined;
  const json = JSON.parse(answer.text) as unknown;
  const validate = validator(schema);
  if (!validate(json)) throw new Error(`${id} ${status}: ${ajv.errorsText(validate.errors)}: ${answer.text}`);
  if (status < 400) return json;
  const { code } = (json as { error: { code: string } }).error;
  expect([id, status, described.description]).toEqual([id, status, expect.stringContaining(`\`${code}\``)]);
  return json;
}

function send(method: string, at: string, body: string | undefined, headers: Sent["headers"]) {
  const url = new URL(node.url ?? "");
  return new Promise<{ status: number; headers: Record<string, string>; text: string }>((resolve, reject) => {
    const asked = httpRequest(
      { host: url.hostname, port: url.port, method, path: at, agent: false, headers },
      (response) => {
        let text = "";
        const end = (): void =>
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers as Record<string, string>,
            text,
          });
        response.setEncoding("utf8");
        response.on("data", (chunk: string) => {
          text += chunk;
          // A watch has no end.
          if (response.headers["content-type"]?.startsWith("text/event-stream") !== true) return;
          end();
          asked.destroy();
        });
        response.once("end", end);
      },
    );
    asked.once("error", reject);
    asked.end(body);
  });
}

const json = (value: unknown): string => JSON.stringify(value);

// The last one asks whether those before it have covered everything.
describe("what a node answers is what its OpenAPI document says", { shuffle: false }, () => {
  it("of itself", async () => {
    for (const id of ["getLive", "getReady", "getStatus", "getMetrics", "getOpenApi", "getDigest"])
      await answerOf(id, 200);
    await answerOf("getStatus", 400, { at: "/status?x=1" });
    await answerOf("getStatus", 403, { headers: { host: "elsewhere.example" } });
    await answerOf("getDigest", 504, { at: "/api/v1/digest?min-tx=999999&timeout=PT0.01S" });
  });

  it("of transactions", async () => {
    const ops = [
      ["put", "pods", "a", { n: 1 }],
      ["put", "pods", "b", 2],
      ["evict", "pods", "c"],
    ];
    await answerOf("submitTransaction", 200, { at: "/api/v1/tx?await=true", body: json({ ops, id: "1" }) });
    await answerOf("submitTransaction", 202, { body: json({ ops, id: "1" }) });
    await answerOf("submitTransaction", 409, { body: json({ ops: [["delete", "pods", "a"]], id: "1" }) });
    const lost = { ops: [["match", "pods", "a", 99]] };
    const { txId } = (await answerOf("submitTransaction", 200, {
      at: "/api/v1/tx?await=true",
      body: json(lost),
    })) as { txId: number };
    await answerOf("submitTransaction", 400, { body: "{" });
    await answerOf("submitTransaction", 413, { body: json({ ops: ["x".repeat(5_000)] }) });
    await answerOf("submitTransaction", 415, { body: "<a/>", headers: { "content-type": "text/xml" } });
    await answerOf("getTransaction", 200, { at: `/api/v1/tx/${txId}` });
    await answerOf("getTransaction", 404, { at: "/api/v1/tx/999999" });
    await answerOf("getTransaction", 504, { at: "/api/v1/tx/999999?timeout=PT0.01S" });
    const headers = { "content-type": "application/x-ndjson" };
    const lines = `${json({ ops })}\n${json(lost)}\n`;
    await answerOf("submitBatch", 200, { at: "/api/v1/tx/batch?await=true", body: lines, headers });
    await answerOf("submitBatch", 202, { body: "", headers });
    await answerOf("submitBatch", 400, { body: `${lines}{`, headers });
    await answerOf("submitBatch", 413, { body: `${lines}${"x".repeat(6_000)}`, headers });
    await answerOf("submitBatch", 415, { body: "{}" });
    await answerOf("listEvictions", 200);
    await answerOf("listEvictions", 200, { at: "/api/v1/tx/evictions?limit=1" });
    await answerOf("listEvictions", 400, { at: "/api/v1/tx/evictions?cursor=x" });
  });

  it.each([
    ["", "/api/v1/services?key=web/a%2F.."],
    ["Default", "/api/v1/services/a"],
    ["", "/api/v1/services/web/a"],
  ])("of documents (%s %s)", async (inDefault, at) => {
    const id = (method: string): string => {
      if (at.includes("key=")) return `${method}DocumentByKey`.replace("getDocumentByKey", "listDocuments");
      return `${method}${inDefault}Document`;
    };
    const also = at.includes("?") ? "&" : "?";
    await answerOf(id("get"), 404, { at });
    await answerOf(id("put"), 201, { at, body: "1" });
    await answerOf(id("put"), 200, { at, body: "2" });
    await answerOf(id("put"), 202, { at: `${at}${also}await=false`, body: "3" });
    await answerOf(id("put"), 412, { at, body: "4", headers: { "if-match": '"1"' } });
    await answerOf(id("put"), 400, { at, body: "9007199254740993" });
    await answerOf(id("put"), 415, { at, body: "1", headers: { "content-type": "text/html" } });
    await answerOf(id("get"), 200, { at });
    await answerOf(id("get"), 200, { at: `${at}${also}history=true&limit=1` });
    await answerOf(id("get"), 304, { at, headers: { "if-none-match": "*" } });
    await answerOf(id("get"), 412, { at, headers: { "if-match": '"1"' } });
    await answerOf(id("get"), 400, { at: `${at}${also}as-of=yesterday` });
    await answerOf(id("get"), 504, { at: `${at}${also}min-tx=999999&timeout=0` });
    await answerOf(id("delete"), 200, { at });
    await answerOf(id("delete"), 202, { at: `${at}${also}await=false` });
    await answerOf(id("delete"), 412, { at, headers: { "if-match": "*" } });
  });

  it("of lists and of the past", async () => {
    await answerOf("listDocuments", 200, { at: "/api/v1/pods?limit=1" });
    await answerOf("listDocuments", 400, { at: "/api/v1/pods?where=a:b" });
    await answerOf("listDocuments", 404, { at: "/api/v1/digest/" });
    await answerOf("listBuckets", 200);
    await answerOf("watch", 200);
    await answerOf("watch", 400, { at: "/api/v1/watch?bucket=UPPER" });
    await answerOf("watch", 410, { at: "/api/v1/watch?from=2&from-time=1999-01-01T00:00:00Z" });
  });

  it("of events and policies", async () => {
    const event = { object: "pod/a", reason: "Scheduled", message: "m", bucket: "pods", type: "Normal" };
    await answerOf("recordEvent", 201, { body: json(event) });
    await answerOf("recordEvent", 201, { body: json({ ...event, source: "s", time: "17" }) });
    await answerOf("recordEvent", 202, { at: "/api/v1/events?await=false", body: json(event) });
    await answerOf("recordEvent", 400, { body: json({ object: "a" }) });
    await answerOf("listEvents", 200, { at: "/api/v1/events?limit=2" });
    await answerOf("listEvents", 400, { at: "/api/v1/events?before=x" });
    await answerOf("getPolicies", 200);
    const policies = {
      indexes: { pods: ["n"], gone: ["x"] },
      expire: { gone: { when: { x: 1 }, after: "PT1H" } },
      history: { pods: { keep: 1 } },
      events: { keep: 100, for: "P1D" },
    };
    await answerOf("putPolicies", 202, { at: "/api/v1/policies?await=false", body: json({}) });
    await answerOf("putPolicies", 200, { body: json(policies) });
    await answerOf("putPolicies", 400, { body: json({ index: {} }) });
    await answerOf("putPolicies", 412, { body: json({}), headers: { "if-match": '"1"' } });
    await answerOf("getPolicies", 200);
    await answerOf("listBuckets", 200);
  });

  it("of checkpoints", async () => {
    await answerOf("verifyCheckpoint", 404);
    await answerOf("saveCheckpoint", 200, { at: "/api/v1/checkpoints?await=true" });
    await answerOf("saveCheckpoint", 200, { at: "/api/v1/checkpoints?await=true" });
    await answerOf("saveCheckpoint", 415, { body: "x", headers: { "content-type": "text/css" } });
    await answerOf("listCheckpoints", 200);
    await answerOf("verifyCheckpoint", 200, { at: "/api/v1/checkpoints/newest/verify" });
    await answerOf("saveCheckpoint", 202);
    await answerOf("getStatus", 200);
    await answerOf("listEvictions", 200);
  });

  it("of what a history policy has removed", async () => {
    // What was superseded in the last 1,000 transactions stays.
    const line = json({ ops: [["put", "pods", "a", 1]] });
    const headers = { "content-type": "application/x-ndjson" };
    const body = `${line}\n`.repeat(1_200);
    await answerOf("submitBatch", 200, { at: "/api/v1/tx/batch?await=true", body, headers });
    await answerOf("watch", 410, { at: "/api/v1/watch?bucket=pods&from=2" });
    await answerOf("listDocuments", 410, { at: "/api/v1/pods?as-of=2" });
    await answerOf("getDefaultDocument", 410, { at: "/api/v1/pods/a?as-of=2" });
    await answerOf("getDocument", 410, { at: "/api/v1/pods/default/a?as-of=2" });
  });

  it("in every operation, with every success that it says", () => {
    const said = [...operations.values()].flatMap(({ operationId, responses }) =>
      Object.keys(responses)
        .filter((status) => Number(status) < 400)
        .map((status) => `${operationId} ${status}`),
    );
    expect(said.filter((one) => !seen.has(one))).toEqual([]);
  });

  it("and would be found out if it were not", () => {
    const validate = validator({ $ref: "#/components/schemas/Written" });
    expect(validate({ txId: 7, existed: null })).toBe(true);
    for (const wrong of [{ txId: 7 }, { txId: 7, existed: true, more: 1 }, { txId: "7", existed: true }])
      expect(validate(wrong)).toBe(false);
  });
});
