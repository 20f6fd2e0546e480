import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { freePort } from "@cairn/log-nats/testing";
import { systemErrorCode } from "@cairn/kv";
import { startNode } from "@cairn/node";
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished, vi } from "vitest";
import { fencedBlocks } from "@cairn/test-support/readme-blocks";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";
import { freePorts, movePorts } from "@cairn/test-support/moved-ports";

const ROOT = fileURLToPath(new URL("../", import.meta.url));
const README = path.join(ROOT, "README.md");

let folder = "";
let groups: (() => void)[] = [];
afterEach(() => {
  for (const end of groups) {
    try {
      end();
    } catch (error) {
      // No process of the group is left, as expected.
      if (systemErrorCode(error) !== "ESRCH") throw error;
    }
  }
  groups = [];
});
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-readme-"));
});
afterAll(async () => await rm(folder, { recursive: true, force: true }));

/** Runs a command in a new process group, so that everything it starts can be killed. */
function run(command: string, args: readonly string[], env: NodeJS.ProcessEnv, cwd: string) {
  const child = spawn(command, args, {
    cwd,
    env: { ...process.env, ...env },
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (output += chunk.toString()));
  const signal = (name: NodeJS.Signals) => {
    if (child.pid !== undefined) process.kill(-child.pid, name);
  };
  groups.push(() => signal("SIGKILL"));
  const closed = once(child, "close") as Promise<[number | null]>;
  return { exited: once(child, "exit"), closed, output: () => output, signal };
}

/** Runs a program in the folder `work`, and returns what it prints. */
async function runProgram(program: string, work: string): Promise<string> {
  await mkdir(path.join(work, "node_modules/@cairn"), { recursive: true });
  await symlink(path.join(ROOT, "packages/node"), path.join(work, "node_modules/@cairn/node"));
  await writeFile(path.join(work, "program.mjs"), program);
  return (await promisify(execFile)(process.execPath, ["program.mjs"], { cwd: work })).stdout;
}

it("docs/embedding.md shows a program that reads a checkpoint where it is", async () => {
  const blocks = await fencedBlocks(path.join(ROOT, "docs/embedding.md"));
  const program = blocks.find(({ text }) => text.includes("openCheckpoint({"))?.text ?? "";
  const work = path.join(folder, "opened");
  await mkdir(work);
  const node = await startNode({ "cairn/http-server": null }, { env: {}, cwd: work });
  onTestFinished(() => node.close());
  await node.ready;
  await node.client().put("pods", "web-0", { image: "nginx" });
  const name = await saveCheckpoint(node);
  const printed = await runProgram(program, work);
  expect(printed).toContain(`${name} as of `);
  expect(printed).toContain("{ image: 'nginx' }");
});

describe("the README's commands", () => {
  it("build and run a node, which stops gracefully on Ctrl-C", async () => {
    const [console] = await fencedBlocks(README);
    const command = /^\$ (npx -y pnpm@12 start)\b/m.exec(console?.text ?? "")?.[1] ?? "";
    expect(command).not.toBe("");
    const port = String(await freePort());
    const env = { CAIRN_DIR: path.join(folder, "one"), CAIRN_HTTP_PORT: port, CAIRN_NODE_ID: "my-host" };
    const [program = "", ...args] = command.split(" ");
    const started = run(program, args, env, ROOT);
    const ready = vi.waitFor(
      () => expect(started.output()).toContain(`my-host is ready at http://127.0.0.1:${port}`),
      { timeout: 150_000 },
    );
    const ended = started.exited.then(() => Promise.reject(new Error(started.output())));
    await Promise.race([ready, ended]);
    const url = `http://127.0.0.1:${port}/api/v1/pods`;
    const put = await fetch(`${url}/default/web-0`, { method: "PUT", body: '{"image": "nginx"}' });
    expect(await put.text()).toBe('{"txId":2,"existed":false}\n');
    expect(await (await fetch(url)).text()).toBe(
      '[{"namespace":"default","name":"web-0","revision":2,"document":{"image":"nginx"}}]\n',
    );
    // A terminal sends SIGINT to every process of the group.
    started.signal("SIGINT");
    await started.exited;
    expect(started.output()).toContain("stopped");
  });

  it("run a node in a program", async () => {
    const program = (await fencedBlocks(README)).find(({ language }) => language === "ts")?.text ?? "";
    expect(await runProgram(program, path.join(folder, "program"))).toContain("running");
  });

  it(
    "start two nodes, of which the second joins from the first one's checkpoint with the same digest",
    { tags: "nats" },
    async () => {
      const work = path.join(folder, "two");
      // Everything that the commands need, in a folder in which they may create ./cairn-data.
      await promisify(execFile)("git", ["clone", "--quiet", "--bare", ROOT, path.join(work, ".git")], {
        env: { ...process.env, GIT_CONFIG_GLOBAL: await trustingGit() },
      });
      for (const name of ["packages", "node_modules"])
        await symlink(path.join(ROOT, name), path.join(work, name));
      await cp(path.join(ROOT, "examples"), path.join(work, "examples"), {
        recursive: true,
        verbatimSymlinks: true,
      });
      const blocks = (await fencedBlocks(README)).map(({ text }) => text);
      const script = blocks.find((text) => text.includes("nats-server -a")) ?? "";
      const stopping = blocks.find((text) => text.startsWith("kill %")) ?? "";
      expect(stopping).not.toBe("");
      const moved = await onFreePorts(script);
      // Without job control, unlike an interactive shell, so that the signals reach only the processes that they name.
      const all = `shopt -s expand_aliases; trap 'jobs -p | xargs -r kill -9' EXIT; PATH=$PATH:/usr/sbin\n${moved}\n${stopping}\ntrap - EXIT`;
      const shell = run("bash", ["-e", "-o", "pipefail", "-c", all], {}, work);
      // Waits until the last process has closed its output.
      const [code] = await shell.closed;
      const output = shell.output();
      expect(output).toMatch(/loaded [\d,]+ transactions/);
      expect(output).toMatch(/Joined +from checkpoint-\d+-\S+.*1 transaction replayed/);
      // Both nodes stopped gracefully.
      expect([code, output.match(/"msg":"stopped"/g)]).toEqual([0, ['"msg":"stopped"', '"msg":"stopped"']]);
      const digests = output.match(/sha256:[0-9a-f]{64}/g) ?? [];
      expect(digests).toHaveLength(2);
      expect(digests[0]).toBe(digests[1]);
    },
  );
});

/** Writes a git configuration that permits reading another user's repository, since mounted repositories often belong to another user. */
async function trustingGit(): Promise<string> {
  const file = path.join(folder, "gitconfig");
  await writeFile(file, "[safe]\n\tdirectory = *\n");
  return file;
}

/** Replaces the README's ports, which may be in use, with free ones. */
async function onFreePorts(script: string): Promise<string> {
  const ports = await freePorts("4222", "3001", "3002");
  return movePorts(script, ports)
    .replace("a.edn &", `a.edn -e '{:cairn/http-server {:port ${ports.get("3001")}}}' &`)
    .replace("b.json &", `b.json -e '{:cairn/http-server {:port ${ports.get("3002")}}}' &`);
}
