import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { configAsJson } from "../src/print-config.ts";
import { parameterTables } from "./support/parameter-tables.ts";
import { configOf } from "./support/read.ts";

const doc = readFileSync(join(import.meta.dirname, "../../../docs/configuration.md"), "utf8");
const EXAMPLES = [...doc.matchAll(/^```(json|edn|clojure)\n([\s\S]*?)^```$/gm)].map(
  ([, language = "", text = ""], index) => ({
    number: index + 1,
    language,
    text,
  }),
);
const s3Doc = readFileSync(join(import.meta.dirname, "../../../docs/s3.md"), "utf8");
const S3_EXAMPLES = [...s3Doc.matchAll(/^```(json|edn)\n([^`]*cairn\/index-store[^`]*)^```$/gm)];
const env = {
  CAIRN_NODE_ID: "n1",
  HOME: "/home/me",
  CHECKPOINTS: "/mnt/checkpoints",
  TOKEN: "secret",
  OPS_TOKEN: "operators",
};

test.each(EXAMPLES)(
  "example $number of docs/configuration.md ($language) is read",
  async ({ language, text }) => {
    const config = await configOf(language === "json" ? { json: text, env } : { edn: text, env });
    expect(config.nodeId).not.toBe("");
  },
);

test("every example of docs/s3.md is read, and saves to a bucket", async () => {
  expect(S3_EXAMPLES).toHaveLength(3);
  const keys = { ...env, S3_KEY: "key", S3_SECRET: "secret" };
  for (const [, language, text = ""] of S3_EXAMPLES) {
    const config = await configOf(language === "json" ? { json: text, env: keys } : { edn: text, env: keys });
    const { values } = configAsJson(config);
    expect(JSON.stringify(values)).toContain("example-checkpoints");
    expect(JSON.stringify(values)).not.toContain('"secret"');
  }
});

test("consecutive examples in both languages mean the same", async () => {
  const pairs = EXAMPLES.flatMap((example, at) => {
    const next = EXAMPLES[at + 1];
    return example.language === "json" && next?.language === "edn"
      ? [[example.text, next.text] as const]
      : [];
  });
  expect(pairs.length).toBeGreaterThanOrEqual(6);
  for (const [json, edn] of pairs) {
    const fromJson = configAsJson(await configOf({ json, env })).values;
    expect(configAsJson(await configOf({ edn, env })).values).toEqual(fromJson);
  }
});

test.each([...parameterTables()])(
  "the table of %s lists the parameters that the reader accepts",
  (heading, table) => {
    const from = doc.indexOf(`\n### \`${heading}\`\n`);
    expect(from).toBeGreaterThan(-1);
    const section = doc.slice(from, doc.indexOf("\n### ", from + 1));
    expect(section).toContain(`${table}\n`);
  },
);
