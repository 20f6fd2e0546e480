import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { CairnError } from "@cairn/kv";
import { runNode, startNode } from "@cairn/node";
import { quietSystem } from "@cairn/test-support/nodes/quiet-system";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

let folder = "";
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-loud-"));
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

describe("an embedded node", () => {
  it("rejects ready with the failure after which it does not try again", async () => {
    const failure = new CairnError("INDEX_LOCKED", "Another process has the log.", "Stop it.");
    const openTxLog = (): Promise<never> => Promise.reject(failure);
    await using node = await runNode(quietSystem({ folder, nodeId: "a", openTxLog }));
    await expect(node.ready).rejects.toBe(failure);
  });

  it("rejects ready with what kept it from being ready if it is closed before", async () => {
    const failure = new CairnError("LOG_UNREACHABLE", "No server responds.", "Start it.");
    const openTxLog = (): Promise<never> => Promise.reject(failure);
    const node = await runNode(quietSystem({ folder, nodeId: "a", openTxLog }));
    await expect.poll(async () => (await node.status()).failure?.code).toBe("LOG_UNREACHABLE");
    await node.close();
    await expect(node.ready).rejects.toBe(failure);
  });

  it("writes its warnings to stderr unless it is given a logger", { tags: "rest/slow" }, async () => {
    const program = `
      import { startNode } from ${JSON.stringify(new URL("../../dist/bundle/index.js", import.meta.url).href)};
      const node = await startNode({
        "cairn/node": { id: "a", dir: ${JSON.stringify(folder)} },
        "cairn/tx-log": { "cairn/module": "cairn.nats/->tx-log", servers: "nats://127.0.0.1:1" },
        "cairn/http-server": null,
      });
      setTimeout(() => node.close(), 500);`;
    const { stderr } = await promisify(execFile)(process.execPath, ["--input-type=module", "-e", program], {
      cwd: new URL("../../../cli/", import.meta.url).pathname,
    });
    expect(stderr).toContain("LOG_UNREACHABLE");
  });

  it("refuses a misspelt key, which does not compile either", async () => {
    // @ts-expect-error There is no such key.
    await expect(startNode({ "cairn/nod": { id: "a" } })).rejects.toMatchObject({ code: "CONFIG_INVALID" });
    // @ts-expect-error There is no such parameter.
    await expect(startNode({ "cairn/node": { idd: "a" } })).rejects.toMatchObject({ code: "CONFIG_INVALID" });
    // In a module, it compiles.
    const store = { "kv-store": { checkpointer: { "aprox-frequency": "PT6H" } } };
    await expect(startNode({ "cairn/index-store": store })).rejects.toMatchObject({
      code: "CONFIG_INVALID",
      hint: "Did you mean approx-frequency?",
    });
  });
});
