import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { startNode } from "@cairn/node";
import { serve } from "@cairn/test-support/nodes/served-node";

const PACKAGES = fileURLToPath(new URL("../../../", import.meta.url));
/** Sources whose messages appear only on the command line, where the documentation is at hand. */
const COMMAND_LINE = ["cli/src/", "config/src/"];

/** Returns the source lines whose messages cite a page of docs/, as `file: line`. */
async function citations(folder: string): Promise<string[]> {
  const names = (await readdir(path.join(PACKAGES, folder), { recursive: true })).filter((name) =>
    name.endsWith(".ts"),
  );
  const found = names.map(async (name) => {
    const text = await readFile(path.join(PACKAGES, folder, name), "utf8");
    const code = text.replaceAll(/\/\*[^]*?\*\/|^\s*\/\/.*$/gm, "");
    return code
      .split("\n")
      .flatMap((line) => (/docs\/|\.md\b/.test(line) ? [`${folder}/${name}: ${line}`] : []));
  });
  return (await Promise.all(found)).flat();
}

it("no response refers to a documentation file", async () => {
  const all = (await Promise.all((await readdir(PACKAGES)).map((name) => citations(`${name}/src`)))).flat();
  const [commands, answered] = [true, false].map((isCommand) =>
    all.filter((one) => COMMAND_LINE.some((room) => one.startsWith(room)) === isCommand),
  );
  // Otherwise this test could never find anything.
  expect(commands).not.toEqual([]);
  expect(answered).toEqual([]);
});

it.each([
  ["GET", "/nothing"],
  ["PATCH", "/status"],
  ["GET", "/api/v1/tx/a/b"],
])("a node serves the address that the hint of %s %s names", async (method, at) => {
  await using served = await serve();
  const { error } = JSON.parse((await served.raw(method, at)).text) as { error: { hint: string } };
  const named = /GET (\/\S+)/.exec(error.hint)?.[1] ?? "";
  expect((await served.raw("GET", named)).status).toBe(200);
});

it("a node without a checkpointer has one after its hint is followed", async () => {
  const folder = await mkdtemp(path.join(tmpdir(), "cairn-hints-"));
  const config = { "cairn/node": { dir: folder }, "cairn/http-server": { port: 0 } };
  const started = async (file: object) => {
    const node = await startNode({ ...config, ...file }, { env: {}, cwd: folder });
    await node.ready;
    const answer = await fetch(`${node.url}/api/v1/checkpoints`);
    const body = await answer.text();
    await node.close();
    return { status: answer.status, body };
  };
  try {
    const refused = await started({ "cairn/index-store": { "kv-store": {} } });
    expect(refused.status).toBe(404);
    const { hint } = (JSON.parse(refused.body) as { error: { hint: string } }).error;
    const told = hint.slice(hint.indexOf("{"), hint.lastIndexOf("}") + 1);
    const file = JSON.parse(told.replace("/backup/checkpoints", path.join(folder, "backup"))) as object;
    expect(await started(file)).toEqual({ status: 200, body: "[]\n" });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
