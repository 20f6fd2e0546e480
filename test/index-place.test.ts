import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { NodeProcess, runCairn } from "@cairn/test-support/cairn-process";

let folder = "";
let nodes: NodeProcess[] = [];
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-index-place-"));
});
afterEach(async () => {
  await Promise.all(nodes.splice(0).map(async (node) => await node.kill()));
  nodes = [];
  await rm(folder, { recursive: true, force: true });
});

async function start(env: NodeJS.ProcessEnv = {}): Promise<NodeProcess> {
  const node = NodeProcess.start({ id: "n-7", dir: path.join(folder, "data"), env });
  nodes.push(node);
  await node.ready();
  return node;
}

it(
  "the index is in {CAIRN_DIR}/{NODE_ID}-index, or in CAIRN_INDEX_PATH if that is set",
  { tags: "rest/slow" },
  async () => {
    const first = await start();
    expect(await readdir(path.join(folder, "data"))).toContain("n-7-index");
    await first.stop();
    const elsewhere = path.join(folder, "elsewhere");
    await start({ CAIRN_INDEX_PATH: elsewhere });
    expect(await readdir(elsewhere)).toContain("live");
  },
);

it(
  "a second process on the same index reports the first one's process id, and does not touch the index",
  { tags: "rest/slow" },
  async () => {
    const index = path.join(folder, "index");
    const first = await start({ CAIRN_INDEX_PATH: index });
    const { pid } = JSON.parse(await readFile(path.join(index, "holder.json"), "utf8")) as { pid: number };
    const env = { CAIRN_INDEX_PATH: index, CAIRN_DIR: path.join(folder, "other"), CAIRN_HTTP_PORT: "0" };
    const { code, stderr } = await runCairn(["start"], { env, cwd: folder });
    expect(code).toBe(3);
    expect(stderr).toContain(`INDEX_LOCKED: The index directory ${index} is in use by process ${pid}.`);
    // The process exists, and its node is still ready.
    expect(process.kill(pid, 0)).toBe(true);
    expect((await first.status()).phase).toBe("ready");
    // A killed process no longer holds the index.
    await first.kill();
    await start({ CAIRN_INDEX_PATH: index });
  },
);
