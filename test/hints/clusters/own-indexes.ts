import { writeFile } from "node:fs/promises";
import type { BrokenCluster } from "../scene/broken-cluster.ts";
import type { HintScene } from "../scene/hint-scene.ts";

/** Nodes with an index of their own. */
export const OWN_INDEXES: readonly BrokenCluster[] = [
  {
    name: "index-document",
    failure: "the module of an index refuses a document",
    codes: ["OWN_INDEX_FAILED"],
    async break(scene) {
      await start(scene);
      await scene.put("a", "anna", "a text");
      return { status: "a" };
    },
    hint: /things default\/(anna) is no object[^]*Correct .*the document that the message names\. The node tries again by itself/,
    follow: async (scene, [, name = ""]) =>
      await scene.step(`put ${name} as an object`, () => scene.put("a", name, { name })),
  },
  {
    name: "index-module",
    failure: "the module of an index is wrong",
    codes: ["OWN_INDEX_FAILED"],
    async break(scene) {
      await start(scene, "throw new Error('it has no dimensions');");
      return { status: "a" };
    },
    hint: /it has no dimensions[^]*Correct its module, .* The node tries again by itself, at most an hour later, and when it is started again/,
    async follow(scene) {
      await scene.step("correct the module", () => writeModule(scene));
      await scene.restart("a", scene.starts.get("a"));
    },
  },
  {
    name: "index-query",
    failure: "the rows of a query are too large",
    codes: ["QUERY_LIMIT"],
    async break(scene) {
      await start(scene);
      return { output: await scene.runRefused("sql things all") };
    },
    hint: /fewer rows with a condition or a lower (limit)/,
    follow: async (scene, [, limit = ""]) => await scene.runStep(`sql things all --${limit} 3`),
  },
];

async function start(scene: HintScene, first?: string): Promise<void> {
  const module = `${await writeModule(scene, first)}#create`;
  // The first query must not find it being built.
  const things = { "cairn/module": module, ready: "waits" };
  await scene.ready("a", { settings: { "cairn/indexes": { things } } });
}

/** Writes a module that does `first`, and returns its path. Its index has no documents, and ten rows of 1 MB. */
async function writeModule(scene: HintScene, first = ""): Promise<string> {
  const file = scene.path("things.mjs");
  await writeFile(
    file,
    `export function create() {
  ${first}
  let position;
  return {
    position: () => position,
    apply(batch) {
      for (const { op, bucket, namespace, name, json } of batch.changes)
        if (op === "put" && !json.startsWith("{"))
          throw new Error(\`\${bucket} \${namespace}/\${name} is no object\`);
      ({ position } = batch);
    },
    query: () => ({ position: "0", columns: ["text"], rows: Array(10).fill(["x".repeat(1e6)]) }),
    close: () => {},
  };
}
`,
  );
  return file;
}
