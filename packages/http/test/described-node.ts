import { VERSION } from "@cairn/text";
import { request as httpRequest } from "node:http";
import { Ajv, type ValidateFunction } from "ajv";
import { openApiDocument } from "../src/openapi/document.ts";
import { ROUTES } from "../src/routes/routes.ts";

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

interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Omit<Described, "method" | "path">>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> };
}

const document = openApiDocument(VERSION, ROUTES) as unknown as Document;

function operationsOf({ paths }: Document): ReadonlyMap<string, Described> {
  return new Map(
    Object.entries(paths).flatMap(([at, methods]) =>
      Object.entries(methods).map(
        ([method, one]) =>
          [one.operationId, { ...one, method: method.toUpperCase(), path: at }] as [string, Described],
      ),
    ),
  );
}

/** The operations of the document, by id. */
export const operations = operationsOf(document);

/** Returns an address that matches the path of an operation. */
export function example(path: string): string {
  return path
    .replace("{bucket}", "pods")
    .replace("{namespace}", "team")
    .replace("{name}", path.includes("checkpoints") ? "newest" : "web")
    .replace("{id}", "7")
    .replace("{queue}", "jobs")
    .replace("{index}", "pods")
    .replace("{shard}", "0")
    .replace("{action}", "claim");
}

/** Returns a schema of OpenAPI 3.0 as JSON Schema that allows no unnamed properties. */
function strict(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(strict);
  if (schema === null || typeof schema !== "object") return schema;
  const { nullable, format: _format, ...rest } = schema as Schema;
  const inner = Object.fromEntries(Object.entries(rest).map(([name, value]) => [name, strict(value)]));
  const closed =
    inner["properties"] === undefined || inner["additionalProperties"] !== undefined
      ? inner
      : { ...inner, additionalProperties: false };
  // Nullable extends the type, and nothing else: an enum has null only if it lists it.
  return nullable === true && "type" in closed ? { ...closed, type: [closed.type, "null"] } : closed;
}

/** The schemas are under `properties` of one schema, where its references point. */
const ajv = new Ajv({ strict: false }).addSchema({
  $id: "document",
  components: { schemas: strict(document.components.schemas) },
});
const validators = new Map<unknown, ValidateFunction>();

/** Returns a validator for a schema of the document. */
export function validator(schema: Schema): ValidateFunction {
  const known = validators.get(schema);
  if (known !== undefined) return known;
  const text = JSON.stringify(strict(schema)).replaceAll('"#/components', '"document#/components');
  const made = ajv.compile(JSON.parse(text) as Schema);
  validators.set(schema, made);
  return made;
}

/** The parts of a request. */
export interface Sent {
  /** The values of the path's parameters, and whatever follows them. */
  readonly at?: string;
  readonly body?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** A running node whose responses are compared with the OpenAPI document. */
export class DescribedNode {
  /** The received responses, as `operation status`. */
  readonly seen = new Set<string>();
  readonly #url: URL;

  constructor(url: string) {
    this.#url = new URL(url);
  }

  /** Sends a request of an operation, and compares the response with the document. */
  async answerOf(id: string, status: number, { at, body, headers = {} }: Sent = {}): Promise<unknown> {
    const operation = operations.get(id);
    if (operation === undefined) throw new Error(`there is no operation ${id}`);
    const { method, responses } = operation;
    const answer = await send(this.#url, method, at ?? operation.path, body, headers);
    check(answer.status === status, `${id} answers ${answer.status}, not ${status}: ${answer.text}`);
    const described = responses[String(status)];
    if (described === undefined) throw new Error(`${id} does not document the response ${status}`);
    for (const name of ["cairn-tx", "cairn-position", "etag", "link", "location"]) {
      if (answer.headers[name] === undefined) continue;
      const named = Object.keys(described.headers ?? {}).map((one) => one.toLowerCase());
      check(named.includes(name), `${id} ${status} does not document ${name}`);
    }
    this.seen.add(`${id} ${status}`);
    const [[type, { schema }] = [undefined, { schema: {} }]] = Object.entries(described.content ?? {});
    const given = answer.headers["content-type"]?.split(";")[0];
    check(given === type, `${id} ${status} is ${given}, not ${type}`);
    if (type !== "application/json") return undefined;
    // Because of the final line break, a terminal shows its prompt on a new line.
    check(/[^\n]\n$/.test(answer.text), `${id} ${status} does not end with one line break: ${answer.text}`);
    const { "content-length": length } = answer.headers;
    const isWhole = length === undefined || Number(length) === Buffer.byteLength(answer.text);
    check(isWhole, `${id} ${status} declares ${length} bytes`);
    const json = JSON.parse(answer.text) as unknown;
    const validate = validator(schema);
    if (!validate(json))
      throw new Error(`${id} ${status}: ${ajv.errorsText(validate.errors)}: ${answer.text}`);
    if (status < 400) return json;
    const { code, hint } = (json as { error: { code: string; hint: string | null } }).error;
    check(hint?.includes("docs/") !== true, `${id} ${status} sends to a file: ${hint}`);
    check(
      described.description.includes(`\`${code}\``),
      `${id} does not document the response ${status} ${code}`,
    );
    return json;
  }
}

function check(isAsSaid: boolean, otherwise: string): void {
  if (!isAsSaid) throw new Error(otherwise);
}

function send(url: URL, method: string, at: string, body: string | undefined, headers: Sent["headers"]) {
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
          // A watch never ends.
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
