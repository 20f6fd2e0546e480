// @module-tag nats
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createCheckpoint, runCairnOrThrow, NodeProcess } from "@cairn/test-support/cairn-process";

const START = fileURLToPath(new URL("../localstack/start.mjs", import.meta.url));

describe("pnpm localstack", () => {
  let folder = "";
  let stack: ChildProcess;
  let exited: Promise<unknown>;
  const env: NodeJS.ProcessEnv = {};
  let overrides = "";
  let node: NodeProcess | undefined;

  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), "cairn-localstack-"));
    // The test must not depend on the S3 services that are installed on the machine.
    const choice = { CAIRN_LOCALSTACK_S3: "small", CAIRN_LOCALSTACK_DIR: folder };
    const ports = { CAIRN_LOCALSTACK_S3_PORT: "0", CAIRN_LOCALSTACK_NATS_PORT: "0" };
    stack = spawn(process.execPath, [START], {
      env: { ...process.env, ...choice, ...ports },
      stdio: ["ignore", "pipe", "inherit"],
    });
    exited = once(stack, "exit");
    if (stack.stdout === null) throw new Error("the process has no output");
    for await (const line of createInterface({ input: stack.stdout })) {
      const [, name, value] = /^export (\w+)=(.*)$/.exec(line) ?? [];
      if (name !== undefined) env[name] = value;
      overrides = /^pnpm start -e '(.*)'$/.exec(line)?.[1] ?? overrides;
      if (line.startsWith("pnpm cairn checkpoint list ")) break;
    }
  });
  afterAll(async () => {
    if (node?.exited === false) await node.kill();
    if (stack.exitCode === null) stack.kill("SIGTERM");
    await exited;
    await rm(folder, { recursive: true, force: true });
  });

  it("refuses to copy objects, which it cannot, instead of storing an empty one", async () => {
    const { AWS_ENDPOINT_URL_S3: endpoint, AWS_ACCESS_KEY_ID: id } = env;
    const authorization = `AWS4-HMAC-SHA256 Credential=${id}/20261120/us-east-1/s3/aws4_request`;
    const ask = async (method: string, key: string, headers = {}): Promise<number> => {
      const url = `${endpoint}/cairn-dev/${key}`;
      return (await fetch(url, { method, headers: { authorization, ...headers } })).status;
    };
    expect(await ask("PUT", "original")).toBe(200);
    expect(await ask("PUT", "copy", { "x-amz-copy-source": "/cairn-dev/original" })).toBe(501);
    expect(await ask("GET", "copy")).toBe(404);
  });

  it(
    "prints how to start a node whose log is on NATS and whose checkpoints are in S3",
    { tags: "rest/slow" },
    async () => {
      node = NodeProcess.start({ id: "dev", dir: path.join(folder, "dev"), args: ["-e", overrides], env });
      await node.ready();
      const url = await node.url();
      await runCairnOrThrow(["tx", "put", "notes", "default/a", "1", "--url", url]);
      await createCheckpoint(url);
      const { checkpoints, log } = await node.status();
      expect(checkpoints.last?.txId).toBe(log.lastTxId);
      const listed = await runCairnOrThrow(["checkpoint", "list", "s3://cairn-dev", "--json"], { env });
      expect(listed.stdout).toContain(checkpoints.last?.name);
      expect(await node.stop()).toBe(0);
    },
  );

  it("stops everything that it started on SIGTERM, and keeps the data", async () => {
    stack.kill("SIGTERM");
    expect(await exited).toEqual([0, null]);
    for (const address of [env["AWS_ENDPOINT_URL_S3"], env["NATS_URL"]?.replace(/^nats:/, "http:")])
      await expect(fetch(address ?? "")).rejects.toThrow("fetch failed");
  });
});
