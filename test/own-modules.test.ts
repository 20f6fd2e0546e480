// @module-tag rest/slow
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createCheckpoint, NodeProcess, runCairn, runCairnOrThrow } from "@cairn/test-support/cairn-process";

const EXAMPLE = fileURLToPath(new URL("../examples/own-modules/", import.meta.url));

describe("a node whose log, index and checkpoint store are a user's own modules", () => {
  let folder = "";
  let node: NodeProcess;
  const start = (config: "cairn.json" | "cairn.edn") =>
    NodeProcess.start({ id: "own", dir: folder, args: ["-f", path.join(EXAMPLE, config)] });

  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), "cairn-own-modules-"));
  });
  afterAll(async () => {
    await node.kill();
    await rm(folder, { recursive: true, force: true });
  });

  it(
    "keeps acknowledged writes when it is killed, with its modules named in JSON or in EDN",
    { tags: "rest/slow" },
    async () => {
      node = start("cairn.json");
      await node.ready();
      const url = await node.url();
      const put = (n: number) => fetch(`${url}/api/v1/kept/default/${n}`, { method: "PUT", body: String(n) });
      const answers = await Promise.all(Array.from({ length: 200 }, (_, n) => put(n)));
      expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 201));
      const digest = await node.digest();
      await node.kill();

      node = start("cairn.edn");
      await node.ready();
      expect(await node.digest()).toEqual(digest);
    },
  );

  it(
    "saves its index to the store and joins from it, with only the tail replayed",
    { tags: "rest/slow" },
    async () => {
      const url = await node.url();
      const saved = await createCheckpoint(url);
      expect(saved.stderr).toBe("");
      expect((await runCairn(["tx", "put", "notes", "one", "1", "--url", url])).code).toBe(0);
      const digest = await node.digest();
      const last = (await node.status()).checkpoints.last;
      expect(await node.stop()).toBe(0);
      expect(await readdir(path.join(folder, "checkpoints", "files"))).toContain(`${last?.name}.json`);

      await rm(path.join(folder, "own-index"), { recursive: true });
      node = start("cairn.json");
      await node.ready();
      const { join } = await node.status();
      expect(join).toMatchObject({ restoredFrom: { name: last?.name }, replayed: 1, skipped: [] });
      expect(await node.digest()).toEqual(digest);
      expect(await node.stop()).toBe(0);
    },
  );

  it(
    "has places of its own, which no node with LevelDB takes for a damaged index",
    { tags: "rest/slow" },
    async () => {
      const files = ["cairn.json", "cairn.edn", "vectors.json"].map((name) => path.join(EXAMPLE, name));
      const printed = files.map((file) => runCairnOrThrow(["config", "print", "--json", "-f", file]));
      const dirs = (await Promise.all(printed)).map(({ stdout }) => /"dir":\s*"([^"]+)"/.exec(stdout)?.[1]);
      expect(dirs).toEqual([
        expect.stringContaining("cairn-data"),
        dirs[0],
        expect.stringContaining("cairn-data"),
      ]);
      expect(dirs[2]).not.toBe(dirs[0]);
    },
  );

  it.each([
    ["when it is imported", "await new Promise(() => {});\nexport function create() {}", "silent.mjs"],
    [
      "when its function is called",
      "export function create() { return new Promise(() => {}); }",
      "silent.mjs#create",
    ],
  ])("exits with an error message if a module hangs %s", async (_, text, named) => {
    await writeFile(path.join(folder, "silent.mjs"), text);
    const store = { "cairn/module": `./${named}` };
    const config = {
      "cairn/index-store": { "kv-store": { checkpointer: { "approx-frequency": "PT1H", store } } },
    };
    const { code, stderr } = await runCairn(["start", "-j", JSON.stringify(config)], { cwd: folder });
    expect(stderr).toMatch(
      /CONFIG_MODULE: \.\/silent\.mjs(#create)? (cannot be imported: .* )?returned a promise that never settles\./,
    );
    expect(code).toBe(2);
  });

  it("exits with an error message if a module's function is misspelt in the configuration", async () => {
    const wrong = `{:cairn/tx-log {:cairn/module "${EXAMPLE}dist/src/index.js#openLogs"}}`;
    const { code, stderr } = await runCairn(["start", "-e", wrong], { cwd: folder });
    expect(code).toBe(2);
    expect(stderr).toContain("exports no function openLogs");
    expect(stderr).toContain("openLog");
  });
});
