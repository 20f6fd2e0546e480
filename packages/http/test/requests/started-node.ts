import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { onTestFinished } from "vitest";
import { type CairnNode, startNode } from "@cairn/node";

/** Starts a node with an embedded log, a folder of its own and a server on a free port. It is ready. */
export async function startedNode(): Promise<CairnNode> {
  const folder = await mkdtemp(path.join(tmpdir(), "cairn-http-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const node = await startNode(
    { "cairn/node": { id: "n1", dir: folder }, "cairn/http-server": { port: 0 } },
    { env: {}, cwd: folder },
  );
  onTestFinished(() => node.close());
  await node.ready;
  return node;
}
