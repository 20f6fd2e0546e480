import { mkdtemp, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import type { CairnNode } from "@cairn/node";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { startNode } from "@cairn/node";

let folder = "";
let node: CairnNode | undefined;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-completed-hints-"));
});
afterEach(async () => {
  await node?.close();
  await rm(folder, { recursive: true, force: true });
});

const SECRET = "hunter2";
const start = async (): Promise<CairnNode> =>
  await startNode(
    {
      "cairn/http-server": {
        port: 0,
        tokens: {
          all: { env: "ALL", rights: ["read", "write", "observe", "operate"] },
          reader: { env: "READER", rights: ["read"] },
        },
      },
    },
    {
      env: { CAIRN_NODE_ID: "a", CAIRN_DIR: path.join(folder, "data"), ALL: SECRET, READER: "reader" },
      cwd: folder,
    },
  );

/** Returns the hint with which a read is refused. */
async function hintFor(token: string): Promise<string> {
  const response = await fetch(`${node?.url}/api/v1/things/k`, {
    headers: { authorization: `Bearer ${token}` },
  });
  const { error } = (await response.json()) as { error: { hint: string } };
  return error.hint;
}

it("a command in a refused request's hint is completed for those who may read the status, without secrets", async () => {
  node = await start();
  await node.ready;
  await node.submit({ ops: [["put", "things", "default/k", 1]] });
  await node.close();
  await rename(path.join(folder, "data", "a-log"), path.join(folder, "away"));
  node = await start();
  await vi.waitFor(() => expect(node?.phase).toBe("failed"), { timeout: 20_000 });
  const { failure } = await node.status();
  const [command = "none"] =
    /CAIRN_NODE_ID=a CAIRN_DIR=\S+ cairn log recover -j CONFIGURATION/.exec(failure?.hint ?? "") ?? [];
  const hint = await hintFor(SECRET);
  expect(hint).toContain(command);
  expect(hint).not.toContain(SECRET);
  expect(await hintFor("reader")).toContain("cairn log recover");
  expect(await hintFor("reader")).not.toContain(folder);
  expect(await hintFor("wrong")).not.toContain(folder);
});

it("a command that asks a node is left to the client, which knows by which address it reaches the node", async () => {
  node = await start();
  await node.ready;
  const response = await fetch(`${node.url}/api/v1/things/k?min-tx=1000&timeout=PT0.01S`, {
    headers: { authorization: `Bearer ${SECRET}` },
  });
  const { error } = (await response.json()) as { error: { hint: string } };
  expect(error.hint).toMatch(/\(cairn status, /);
});
