import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Ajv2020 } from "ajv/dist/2020.js";
import fc from "fast-check";
import { expect, test } from "vitest";
import { configSchema } from "../src/config-schema.ts";
import type { ConfigInput } from "../src/config-sources.ts";
import { configAsJson } from "../src/print-config.ts";
import type { ResolvedConfig } from "../src/read-config.ts";
import { XTDB_EXAMPLES } from "./support/mistakes.ts";
import { configOf } from "./support/read.ts";

const root = join(import.meta.dirname, "../../..");
const validate = new Ajv2020({ strictTypes: false, strictRequired: false }).compile(configSchema());

/** Returns what a node has of a configuration, without the functions that create its parts and the texts of tokens. */
function partsOf({
  settings: _settings,
  notices: _notices,
  origin: _origin,
  ...parts
}: ResolvedConfig): unknown {
  return JSON.parse(JSON.stringify(parts, (name, value: unknown) => (name === "text" ? undefined : value)));
}

/** Expects that the printed values are a configuration of the same node, also without the variables. */
async function expectSame(input: Partial<ConfigInput>): Promise<void> {
  const config = await configOf(input);
  const { values } = configAsJson(config);
  expect([validate(values), validate.errors]).toEqual([true, null]);
  const printed = await configOf({ object: JSON.parse(JSON.stringify(values)), env: {} });
  expect(configAsJson(printed).values).toEqual(values);
  if (!JSON.stringify(values).includes("(secret)")) expect(partsOf(printed)).toEqual(partsOf(config));
}

const EXAMPLES = ["configuration", "s3"].flatMap((page) =>
  [...readFileSync(join(root, `docs/${page}.md`), "utf8").matchAll(/^```(json|edn)\n([\s\S]*?)^```$/gm)]
    .filter(([, , text = ""]) => /^\{[\s:"]*cairn\//.test(text))
    .map(([, language = "", text = ""], at) => [`${at + 1} of ${page}.md`, { [language]: text }] as const),
);
const FIXTURES = "packages/config/test/fixtures";
const FILES = [
  `${FIXTURES}/crux.json`,
  `${FIXTURES}/crux.edn`,
  `${FIXTURES}/crux.clj.edn`,
  "examples/two-nodes/a.edn",
  "examples/two-nodes/b.json",
  "deploy/cairn.edn",
].map((name) => [name, { file: join(root, name) }] as const);
const FOREIGN = XTDB_EXAMPLES.filter(({ told }) => told === "").map(
  ({ title, input }) => [title, input] as const,
);

const NAMES = ["HOME", "CHECKPOINTS", "TOKEN", "OPS_TOKEN", "S3_KEY", "S3_SECRET", "S3_BUCKET"];
const env = {
  ...Object.fromEntries(NAMES.map((name) => [name, "of-the-node"])),
  CAIRN_NODE_ID: "n1",
  NATS_URL: "nats://h:4222",
  CAIRN_INDEX_PATH: "/i",
  CAIRN_CHECKPOINT_PATH: "/c",
};

test.each([...EXAMPLES, ...FILES, ...FOREIGN])(
  "the printed values of %s are its node's",
  async (_, input) => {
    await expectSame({ ...input, env });
  },
);

/** A configuration whose modules are in their places, under the names of keys, or under other names for these. */
function randomConfig(pick: fc.GeneratorValue): object {
  const keys: Record<string, unknown> = {};
  const one = <T>(...values: T[]): T => pick(fc.constantFrom<T[]>, ...values);
  const maybe = (parameters: () => object): object => (pick(fc.boolean) ? parameters() : {});
  const text = (): string => one("/a", "b c", "$${c}", "/$${d", "$${e$${f}", "${NONE:-$}g/h", "${NONE:-%}i%");
  const module = (name: string, map: object): unknown => {
    const key = `${one("", "site/", "cairn.memory/->")}${name}`;
    const at = one("in place", "shared", "named twice");
    if (at === "in place") return map;
    keys[key] = map;
    if (at === "shared") return key;
    keys[`${key}/2`] = key;
    return `${key}/2`;
  };
  const store = (name: string): unknown =>
    module(name, { "cairn/module": "cairn.checkpoint/->filesystem-checkpoint-store", path: text() });
  const checkpointer = (): object => {
    const saving = store("store");
    return {
      ...maybe(() => ({ "cairn/module": null })),
      "approx-frequency": pick(fc.integer, { min: 1, max: 1e12 }),
      store: saving,
      ...maybe(() => ({ "restore-from": pick(fc.boolean) ? [saving, store("mirror")] : saving })),
      ...maybe(() => ({ "log-backup": { every: 1 } })),
    };
  };
  const kvStore = {
    ...maybe(() => ({ "cairn/module": one(null, "cairn.memory/->kv-store") })),
    ...maybe(() => ({ "db-dir": text() })),
    ...maybe(() => ({ "scrub-every": one("never", "PT0.001S") })),
    ...maybe(() => ({ checkpointer: module("checkpointer", checkpointer()) })),
  };
  const tables = { t: { bucket: "b", indexes: [["name"]] } };
  const index = module("index", { "cairn/module": "cairn.sqlite/->index", tables });
  const server = { "cors-origins": "*", tokens: { 0: { env: text(), rights: "read" } } };
  return {
    "cairn/tx-log": module("log", { path: text(), "on-log-mismatch": { regressed: "halt" } }),
    "cairn/index-store": { "kv-store": module("kv-store", kvStore) },
    "cairn/indexes": { 0: index, ...maybe(() => ({ 1: index })) },
    "cairn/http-server": one(null, server),
    ...maybe(() => ({ "cairn/policies": { indexes: { pods: [text()] } } })),
    ...keys,
  };
}

test("any configuration with shared modules has a valid form, and its printed values are its node's", async () => {
  await fc.assert(
    fc.asyncProperty(fc.gen(), async (pick) => {
      const object = randomConfig(pick);
      expect([validate(object), validate.errors]).toEqual([true, null]);
      await expectSame({ object });
    }),
    { numRuns: 100 },
  );
});
