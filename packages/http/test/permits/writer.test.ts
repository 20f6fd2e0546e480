import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { type CairnNode, startNode } from "@cairn/node";
import { runCli } from "@cairn/cli/src/run-cli";
import { CapturedTerminal } from "@cairn/test-support/nodes/captured-terminal";

async function send(node: CairnNode, method: string, path: string, token: string): Promise<unknown> {
  const answer = await fetch(`${node.url}/api/v1/${path}`, {
    method,
    headers: { authorization: `Bearer ${token}` },
    ...(method === "PUT" ? { body: "1" } : {}),
  });
  return await answer.json();
}

it("the log records the name of the token that submitted a transaction, and shows it after a restart", async () => {
  const dir = await mkdtemp(join(tmpdir(), "cairn-writer-"));
  onTestFinished(() => rm(dir, { recursive: true }));
  const file = join(dir, "app-token");
  await writeFile(file, "app-value\n");
  const start = async (): Promise<CairnNode> => {
    const node = await startNode({
      "cairn/node": { id: "one", dir },
      "cairn/http-server": {
        port: 0,
        tokens: { app: { file, rights: ["read", "write"] } },
        "auth-token": "root",
      },
    });
    await node.ready;
    return node;
  };
  let node = await start();
  const named = (await send(node, "PUT", "pods/default/a", "app-value")) as { txId: number };
  const unnamed = (await send(node, "PUT", "pods/default/b", "root")) as { txId: number };
  await node.close();

  node = await start();
  const outcome = { txId: named.txId, committed: true };
  expect(await send(node, "GET", `tx/${named.txId}?by=true`, "root")).toMatchObject({
    ...outcome,
    by: "app",
  });
  expect(await send(node, "GET", `tx/${named.txId}`, "root")).not.toHaveProperty("by");
  expect(await send(node, "GET", `tx/${unnamed.txId}?by=true`, "app-value")).toMatchObject({ by: null });
  const terminal = new CapturedTerminal();
  await runCli(["tx", "show", String(named.txId), "--url", node.url ?? "", "--token", "root"], terminal);
  expect(terminal.stdout.text).toMatch(/^Outcome +committed\nToken +app$/m);
  await node.close();
});

it("a program cannot record a writer that the log's format does not allow", async () => {
  const dir = await mkdtemp(join(tmpdir(), "cairn-writer-"));
  onTestFinished(() => rm(dir, { recursive: true }));
  const node = await startNode({ "cairn/node": { id: "one", dir }, "cairn/http-server": null });
  await node.ready;
  await expect(node.submit({ ops: [["put", "pods", "a", 1]] }, { by: "two words" })).rejects.toMatchObject({
    code: "TX_INVALID",
  });
  const { txId } = await node.submit({ ops: [["put", "pods", "a", 1]] }, { by: "a-program" });
  await node.await(txId);
  expect(await node.writerOf(txId)).toBe("a-program");
  await node.close();
});
