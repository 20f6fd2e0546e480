import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { expect, it, onTestFinished } from "vitest";
import { CAIRN, NodeProcess, runCairnOrThrow } from "@cairn/test-support/cairn-process";

const run = promisify(execFile);
const POLICIES = {
  queues: { deliveries: { shards: 4, cap: 9, terminal: { state: ["done"] }, lease: "PT1M" } },
};

it(
  "the commands of docs/moving.md move the entries of a queue to another cluster",
  { tags: "rest/slow" },
  async () => {
    const docs = await readFile(new URL("../../docs/moving.md", import.meta.url), "utf8");
    const [, exporting = "", changing = "", loading = ""] =
      /^\$ (cairn export --bucket deliveries.*)\n\$ (sed .*)\n\$ (cairn load .*)$/m.exec(docs) ?? [];
    const cwd = await mkdtemp(path.join(tmpdir(), "cairn-moving-"));
    onTestFinished(() => rm(cwd, { recursive: true, force: true }));
    await writeFile(path.join(cwd, "policies.json"), JSON.stringify(POLICIES));
    await mkdir(path.join(cwd, "bin"));
    const program = `#!/bin/sh\nexec "${process.execPath}" "${CAIRN}" "$@"\n`;
    await writeFile(path.join(cwd, "bin", "cairn"), program, { mode: 0o755 });
    const shell = async (url: string, command: string): Promise<string> => {
      const env = { ...process.env, PATH: `${path.join(cwd, "bin")}:${process.env["PATH"]}`, CAIRN_URL: url };
      return (await run("bash", ["-c", command], { cwd, env })).stdout;
    };
    const startNode = async (id: string): Promise<string> => {
      const node = NodeProcess.start({ id, dir: path.join(cwd, id) });
      onTestFinished(() => node.kill());
      await node.ready();
      const url = await node.url();
      await runCairnOrThrow(["policy", "apply", path.join(cwd, "policies.json"), "--url", url]);
      return url;
    };
    const [from, to] = [await startNode("from"), await startNode("to")];
    const orders = ["a", "b", "c", "d", "e"].map((name) => ({
      name,
      document: { text: `"put","deliveries","1/${name}` },
    }));
    for (const { name, document } of orders)
      await shell(from, `cairn queue enqueue deliveries '${JSON.stringify(document)}' --name ${name}`);

    await shell(from, exporting);
    await shell(from, changing);
    await shell(to, loading);
    for (const { name, document } of orders) {
      const found = await fetch(`${to}/api/v1/queues/deliveries/entry?name=${name}`);
      expect(await found.json()).toMatchObject({ name, document });
    }
  },
);
