import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Ajv2020 } from "ajv/dist/2020.js";
import { describe, expect, test } from "vitest";
import { configSchema } from "../src/config-schema.ts";
import { MODULES } from "../src/modules/modules.ts";
import { readEdn } from "../src/source/edn.ts";
import { plainValue } from "../src/types/plain-value.ts";
import { ProblemList } from "../src/source/problems.ts";
import { SourceText } from "../src/source/source-text.ts";
import { MISTAKES, type Mistake } from "./support/mistakes.ts";

const here = import.meta.dirname;
// The validator is strict about keywords that JSON Schema does not have, and about references that do not resolve.
const ajv = new Ajv2020({ strict: true, strictTypes: false, strictRequired: false, allErrors: true });
const schema = configSchema();
const validate = ajv.compile(schema);

function refusals(document: unknown): readonly string[] {
  validate(document);
  return (validate.errors ?? []).map(({ instancePath, message }) => `${instancePath} ${message}`);
}

/** Returns an EDN document as JSON, with durations in milliseconds. */
function ednAsJson(edn: string): unknown {
  const tree = readEdn(new SourceText("file", "x.edn", edn), new ProblemList());
  return tree === undefined ? undefined : JSON.parse(JSON.stringify(plainValue(tree)));
}

function documentOf(input: Mistake["input"]): unknown {
  return "edn" in input ? ednAsJson(input.edn) : JSON.parse(input.json);
}

describe("an editor with the schema accepts", () => {
  const doc = readFileSync(join(here, "../../../docs/configuration.md"), "utf8");
  const examples = [...doc.matchAll(/^```(json|edn)\n([\s\S]*?)^```$/gm)].map(
    ([, language, text = ""], at) =>
      [at + 1, language === "json" ? JSON.parse(text) : ednAsJson(text)] as const,
  );

  test("enough examples in the document", () => expect(examples.length).toBeGreaterThan(15));

  test.each(examples)("example %i of docs/configuration.md", (_, document) => {
    expect(refusals(document)).toEqual([]);
  });

  test.each(["crux.json", "crux.edn", "crux.clj.edn"])("the file %s of the checkpointing page", (file) => {
    const text = readFileSync(join(here, "fixtures", file), "utf8");
    expect(refusals(file.endsWith(".json") ? JSON.parse(text) : ednAsJson(text))).toEqual([]);
  });

  test.each(["a.edn", "b.json"])("the file %s of the two nodes", (file) => {
    const text = readFileSync(join(here, "../../../examples/two-nodes", file), "utf8");
    expect(refusals(file.endsWith(".json") ? JSON.parse(text) : ednAsJson(text))).toEqual([]);
  });

  test.each<[string, object]>([
    [
      "modules of your own with any parameter",
      { "cairn/tx-log": { "cairn/module": "./my.js#open", any: 1 } },
    ],
    ["a package as a module", { "cairn/index-store": { "kv-store": "@me/store#create" } }],
    ["the key that names the schema", { $schema: "./cairn.schema.json" }],
    ["null for removed parts", { "cairn/node": { id: null }, "cairn/http-server": null }],
    ["a server that is turned off", { "crux.http-server/server": false }],
    [
      "every policy",
      {
        "cairn/policies": {
          indexes: { pods: ["state"] },
          expire: { pods: { after: "P30D" } },
          history: { pods: { keep: 3 } },
          events: { for: "P7D" },
          outcomes: { keep: 2_000_000 },
          queues: { jobs: { shards: 4, cap: 10, terminal: { state: "done" }, lease: "PT1M" } },
        },
      },
    ],
    ["a string of digits in place of a number", { "cairn/http-server": { port: "8080" } }],
    [
      "shared modules that name no module, or another shared one",
      {
        "cairn/tx-log": "site/log",
        "cairn/index-store": { "kv-store": "site/index" },
        "site/log": { replicas: 3 },
        "site/index": "site/kv",
        "site/kv": { "cairn/module": null, checkpointer: "site/cp" },
        "site/cp": { "crux/module": null, "approx-frequency": "PT6H", store: "site/store" },
        "site/store": { "cairn/module": "cairn.checkpoint/->filesystem-checkpoint-store", path: "/x" },
      },
    ],
    ["a log that NATS_URL selects", { "cairn/tx-log": { replicas: 3 } }],
    [
      "addresses without a scheme",
      { "cairn/tx-log": { "cairn/module": "cairn.nats/->tx-log", servers: "a:1,b" } },
    ],
  ])("%s", (_, document) => {
    expect(refusals(document)).toEqual([]);
  });
});

describe("an editor with the schema marks", () => {
  // Mistakes are written as -e and -j, in addition to the default, whereas a file must be complete.
  const whole = {
    "cairn/index-store": {
      "kv-store": {
        checkpointer: {
          "approx-frequency": "PT6H",
          store: { "cairn/module": "cairn.checkpoint/->filesystem-checkpoint-store", path: "/x" },
        },
      },
    },
  };
  const ONLY_THE_READER = new Set([
    // Mistakes that depend on the rest of the file, or on the environment.
    "names: a shared module that nothing names",
    "modules: a keyword of an unknown module",
    "modules: a string of an unknown module",
    "modules: a module that contains itself",
    "values: a variable that is not set",
    "values: a variable that is never closed",
    "values: a store in the folder to which the index restores",
    "values: a log in the index itself",
    "names: a misspelt server turned off",
    "older systems: a server under both names",
    "indexes: text in a column mistyped",
    // An empty map, which may be a shared module.
    "names: a mistyped top-level key",
    "names: a top-level key without its namespace",
    "names: a key without its namespace",
    "modules: a document store",
    "modules: a Lucene index",
    // Values, conditions between them, and the names of modules.
    "names: a policy that is none",
    "values: an expiry of no fixed length",
    'durations: the frequency "PT7D"',
    'durations: the frequency "P6H"',
    'durations: the frequency "P30M"',
    'durations: the frequency "P1Y"',
    'durations: the frequency "6h"',
    'durations: the frequency "6"',
    'durations: the frequency "soon"',
    'durations: the frequency "PT0S"',
    "values: a size with a unit",
    "values: a node's name with a slash",
    "values: a path with a tilde",
    "values: a bucket in the place of a folder",
    "values: an empty policy",
    "values: a store taken away",
    "values: an empty list of stores",
    "values: two ways to log in",
    "values: an address that is none",
    "modules: a store that has no such name",
    "modules: a key-value store where a checkpoint store is needed",
    "modules: S3 without a bucket, by its old name",
    "modules: a Kafka log",
    "modules: a JDBC log",
    "modules: an Azure store",
    "modules: a Google store",
    "older systems: a module that only a refused parameter names",
    "older systems: a key-value store that is not here, and a parameter of one that is",
    "older systems: the size of a map",
    "indexes: a name that is no folder",
    // Mistakes that JSON cannot express.
    "modules: a module as a keyword",
    "modules: the module of a map as a keyword",
    "durations: the frequency (Duration/ofHour 6)",
    "durations: the frequency (Duration/ofHours)",
    "values: a path created by Java",
    "older systems: a duration that is parsed by code",
  ]);
  const mistakes = MISTAKES.filter(({ title }) => !title.startsWith("syntax:"));

  test("nothing in the configuration to which the mistakes are added", () =>
    expect(refusals(whole)).toEqual([]));

  test.each(mistakes.filter(({ title }) => !ONLY_THE_READER.has(title)))("$title", ({ input }) => {
    expect(refusals(merge(whole, documentOf(input)))).not.toEqual([]);
  });

  test.each(mistakes.filter(({ title }) => ONLY_THE_READER.has(title)))("but not: $title", ({ input }) => {
    expect(refusals(merge(whole, documentOf(input)))).toEqual([]);
  });
});

const text = JSON.stringify(schema);

test("every reference in the schema resolves", () => {
  const references = [...text.matchAll(/"\$ref":"#\/\$defs\/([^"]+)"/g)].map(([, name]) => name);
  expect(references.length).toBeGreaterThan(3);
  const defined = Object.keys(Object(schema["$defs"]));
  for (const name of references) expect(defined).toContain(name);
});

test("every parameter of every module is in the schema, with a description", () => {
  for (const module of MODULES) {
    expect(text).toContain(JSON.stringify(module.id));
    for (const [name, { doc }] of Object.entries(module.parameters)) {
      expect(text).toContain(`"${name}":{`);
      expect(text).toContain(JSON.stringify(doc));
    }
  }
});

/** Merges one document into another, key by key. */
function merge(under: unknown, over: unknown): unknown {
  if (!isMap(under) || !isMap(over)) return over;
  const merged = { ...under };
  for (const [name, value] of Object.entries(over)) merged[name] = merge(merged[name], value);
  return merged;
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
