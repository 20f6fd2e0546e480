// @module-tag rest/slow
import { execFile, spawn } from "node:child_process";
import { mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { describe, expect, it, onTestFinished } from "vitest";
import { CAIRN, NodeProcess, runCairn } from "@cairn/test-support/cairn-process";

const execute = promisify(execFile);

async function folder(): Promise<string> {
  const dir = await mkdtemp(path.join(tmpdir(), "cairn-surroundings-"));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

/** Runs a line of a shell in `cwd`, in which `cairn` is the command. */
async function shell(line: string, cwd: string, env: NodeJS.ProcessEnv = {}): Promise<string> {
  const define = `cairn() { '${process.execPath}' '${CAIRN}' "$@"; }`;
  const { stdout, stderr } = await execute("sh", ["-c", `${define}\n${line}`], {
    cwd,
    env: { ...process.env, ...env },
  }).catch((error: unknown) => error as { stdout: string; stderr: string });
  return stdout + stderr;
}

async function startNode(dir: string, env: NodeJS.ProcessEnv = {}): Promise<NodeProcess> {
  const node = NodeProcess.start({ id: "node-1", dir, env });
  onTestFinished(() => node.kill());
  await node.ready();
  return node;
}

describe("text in another encoding", () => {
  it.each([
    ["UTF-16", "iconv -t UTF-16 plain > given"],
    ["UTF-16", "iconv -t UTF-16LE plain > given"],
    ["compressed by gzip", "gzip -c plain > given"],
  ])("is named (%s, %s), and can be loaded once it was converted as the hint says", async (what, make) => {
    const dir = await folder();
    const node = await startNode(path.join(dir, "node"));
    const env = { CAIRN_URL: await node.url() };
    await writeFile(path.join(dir, "plain"), '{"ops":[["put","texts","default/a",{"v":1}]]}\n');
    await shell(make, dir);
    for (const command of ["load", "import ndjson"]) {
      const refused = await shell(`cairn ${command} given`, dir, env);
      expect(refused).toContain(`TX_INVALID: The input is not text in UTF-8: it is ${what}`);
      const [, convert = ""] = /hint: Convert it to UTF-8: (.*)\.\n/.exec(refused) ?? [];
      await shell(convert.replace("FILE", "given").replace("CONVERTED", "converted"), dir);
      expect(await shell(`cairn ${command} converted`, dir, env)).toMatch(/^(?:loaded|imported) 1 /);
    }
    const body = await fetch(`${await node.url()}/api/v1/tx`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: Buffer.concat([Buffer.from([0xff, 0xfe]), Buffer.from("{}", "utf16le")]),
    });
    expect(await body.json()).toMatchObject({ error: { message: expect.stringContaining("it is UTF-16") } });
  });
});

describe("a place that is gone", () => {
  it("is named in one line if it is the working directory", async () => {
    const dir = await folder();
    const printed = await shell('mkdir gone && cd gone && rmdir ../gone && cairn version; echo "$?"', dir);
    expect(printed.split("\n").filter((line) => !line.startsWith("sh:"))).toEqual([
      "2",
      "USAGE: The working directory no longer exists.",
      "  hint: Change to another one.",
      "",
    ]);
  });

  it("does not keep a node from beginning its log if it is the folder for temporary files", async () => {
    const dir = await folder();
    const node = path.join(dir, "node");
    await startNode(node, { TMPDIR: path.join(dir, "missing") });
    expect((await readdir(node, { recursive: true })).filter((name) => name.includes("lock-"))).toEqual([]);
  });
});

describe("an address with a password", () => {
  it.each([
    ["import etcd", "http://alice:secret@one:two/three#4@127.0.0.1:1"],
    ["import etcd", "http://alice:secret@two/three@127.0.0.1:1"],
    ["import nats-kv", "nats://alice:secret@two/three@127.0.0.1:1"],
    ["list d --url", "http://alice:secret@two/three@127.0.0.1:1"],
    ["list d --url", "htp://alice:secret@two@127.0.0.1:1"],
    [
      "config check -e",
      '{:cairn/tx-log {:cairn/module cairn.nats/->tx-log :servers "nats://alice:secret@two/three@h"}}',
    ],
    [
      "config check -j",
      '{"cairn/index-store":{"kv-store":{"checkpointer":{"approx-frequency":"PT1H","store":"s3://alice:secret@two@b"}}}}',
    ],
  ])("is not printed by cairn %s %s", async (command, address) => {
    const node = await startNode(await folder());
    const bucket = command.endsWith("nats-kv") ? ["b"] : [];
    const env = { CAIRN_URL: await node.url() };
    const { code, stderr } = await runCairn([...command.split(" "), address, ...bucket], { env });
    expect(code).toBeGreaterThan(0);
    expect(stderr).not.toMatch(/alice|secret|two|three/);
  });
});

describe("a folder that users of one group share", () => {
  it("stays writable for the group whatever the umask of a node", async () => {
    const dir = await folder();
    const store = path.join(dir, "store");
    await shell("mkdir -m 2770 store", dir);
    const config = `{"cairn/index-store":{"kv-store":{"checkpointer":{"approx-frequency":"PT1H","store":{"cairn/module":"cairn.checkpoint/->filesystem-checkpoint-store","path":"store"},"log-backup":{"every":"PT1S"}}}}}`;
    const env = {
      ...process.env,
      CAIRN_HTTP_PORT: "0",
      CAIRN_DIR: path.join(dir, "node"),
      CAIRN_NODE_ID: "node-1",
    };
    const start = `umask 077; exec '${process.execPath}' '${CAIRN}' start -j '${config}'`;
    const node = spawn("sh", ["-c", start], { cwd: dir, env, stdio: "ignore" });
    onTestFinished(() => void node.kill("SIGKILL"));
    /** Returns what lacks the group's rights. A file may be removed, and has them only just after it was created. */
    const withheld = async (): Promise<string[]> => {
      const names = await readdir(store, { recursive: true });
      if (!names.some((name) => name.endsWith(".segment"))) return ["there is no segment yet"];
      const modes = await Promise.all(
        names.map(async (name) => (await stat(path.join(store, name)).catch(() => undefined))?.mode ?? 0o060),
      );
      return names.filter((_, at) => ((modes[at] ?? 0) & 0o060) !== 0o060);
    };
    await expect.poll(withheld, { timeout: 20_000 }).toEqual([]);
  });
});
