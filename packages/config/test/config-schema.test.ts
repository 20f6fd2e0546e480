import { expect, test } from "vitest";
import { configSchema } from "../src/config-schema.ts";
import { MODULES } from "../src/modules/modules.ts";

const schema = configSchema();
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
