import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

const MAIN = fileURLToPath(new URL("../../dist/bundle/main.js", import.meta.url));

let dir = "";
const children: ChildProcess[] = [];

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "cairn-start-"));
});

afterEach(async () => {
  for (const child of children.splice(0)) {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill("SIGKILL");
      await once(child, "exit");
    }
  }
  await rm(dir, { recursive: true, force: true });
});

interface Started {
  readonly child: ChildProcess;
  readonly output: () => string;
  readonly ended: Promise<number | null>;
}

/** Runs the built command in a separate process. */
function cairn(argv: readonly string[], env: Record<string, string> = {}): Started {
  const child = spawn(process.execPath, [MAIN, ...argv], {
    cwd: dir,
    env: { PATH: process.env["PATH"], CAIRN_NODE_ID: "node-1", CAIRN_HTTP_PORT: "0", ...env },
  });
  children.push(child);
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (output += String(chunk)));
  return {
    child,
    output: () => output,
    ended: once(child, "close").then(([code]) => code as number | null),
  };
}

async function readyUrl({ output }: Started): Promise<string> {
  return vi.waitFor(
    () => {
      const url = /node-1 is ready at (http:[^"\s]+)/.exec(output())?.[1];
      if (url === undefined) throw new Error(`not ready: ${output()}`);
      return url;
    },
    { timeout: 30_000 },
  );
}

describe("start", () => {
  test(
    "runs a node until a signal, logs its address, and keeps its data",
    { tags: "rest/slow" },
    async () => {
      const first = cairn(["start"]);
      const url = await readyUrl(first);
      const put = await fetch(`${url}/api/v1/pods/default/x`, { method: "PUT", body: "1" });
      expect(put.status).toBe(201);
      // The signal is sent twice, as if a wrapper had forwarded it.
      first.child.kill("SIGINT");
      first.child.kill("SIGTERM");
      expect(await first.ended).toBe(0);
      for (const line of first.output().trim().split("\n")) expect(JSON.parse(line)).toHaveProperty("msg");

      const second = cairn(["start"]);
      const answer = await fetch(`${await readyUrl(second)}/api/v1/pods/default/x`);
      expect(await answer.text()).toBe("1\n");
      // A node without a terminal survives the end of the session in which it was started.
      second.child.kill("SIGHUP");
      expect((await fetch(`${await readyUrl(second)}/health/live`)).status).toBe(200);
      second.child.kill("SIGTERM");
      expect(await second.ended).toBe(0);
    },
  );

  test("with a wrong configuration prints every problem, starts nothing and exits with 2", async () => {
    const started = cairn(["start", "-j", '{"cairn/http-server": {"prot": 1, "host": 7}}']);
    expect(await started.ended).toBe(2);
    expect(started.output()).toContain("prot");
    expect(started.output()).toContain("host");
    expect(started.output()).not.toMatch(/\n\s+at /);
    expect(await readdir(dir)).toEqual([]);
  });

  test("with the name of a file that is missing starts nothing, and says what to do about its folder", async () => {
    const started = cairn(["start", "-f", join(dir, "cairn.edn")]);
    expect(await started.ended).toBe(2);
    expect(started.output()).toContain(`CONFIG_NOT_FOUND: The file does not exist.`);
    expect(started.output()).toContain(
      `${dir} is empty: put the file there, or mount there what contains it.`,
    );
    expect(await readdir(dir)).toEqual([]);

    await writeFile(join(dir, "cairn.edn"), "{}");
    await readyUrl(cairn(["start", "-f", join(dir, "cairn.edn")]));
  });

  test(
    "without a configuration says so in one line, which a node with one does not log",
    { tags: "rest/slow" },
    async () => {
      const configured = cairn(["start", "-j", "{}"], { CAIRN_DIR: "./other" });
      const started = cairn(["start"]);
      await Promise.all([readyUrl(started), readyUrl(configured)]);
      expect(started.output()).toContain(
        `There is no cairn.edn or cairn.json in ${dir}, so this node runs on`,
      );
      expect(configured.output()).not.toContain("built-in default");
    },
  );

  test(
    "on a port or an index that is in use exits with 3 and names the port or the index",
    { tags: "rest/slow" },
    async () => {
      const first = cairn(["start"]);
      const { port } = new URL(await readyUrl(first));
      const samePort = cairn(["start"], { CAIRN_HTTP_PORT: port, CAIRN_DIR: "./other" });
      const sameIndex = cairn(["start"]);
      expect(await samePort.ended).toBe(3);
      expect(samePort.output()).toContain(`PORT_IN_USE: Port ${port} of 127.0.0.1 is already in use.`);
      expect(await sameIndex.ended).toBe(3);
      expect(sameIndex.output()).toContain("INDEX_LOCKED: ");
      expect((await fetch(`http://127.0.0.1:${port}/health/ready`)).status).toBe(200);
    },
  );
});

describe("a token file that is gone", () => {
  test(
    "is refused by config check as by start, and reported by the running node until it is back",
    { tags: "rest/slow" },
    async () => {
      const file = join(dir, "token");
      await writeFile(file, "secret\n");
      const config = JSON.stringify({
        "cairn/http-server": { tokens: { app: { file: "token", rights: ["read", "operate"] } } },
      });
      const url = await readyUrl(cairn(["start", "-j", config]));
      const findings = async (): Promise<string[]> => {
        const response = await fetch(`${url}/status`, { headers: { authorization: "Bearer secret" } });
        const status = (await response.json()) as { findings: { code: string; message: string }[] };
        return status.findings.filter(({ code }) => code === "file-unusable").map(({ message }) => message);
      };
      expect(await findings()).toEqual([]);
      await rename(file, `${file}.away`);
      await vi.waitFor(async () => expect(await findings()).toEqual([expect.stringContaining(file)]), 10_000);
      const checked = cairn(["config", "check", "-j", config]);
      const started = cairn(["start", "-j", config], {
        CAIRN_NODE_ID: "node-2",
        CAIRN_DIR: join(dir, "other"),
      });
      expect([await checked.ended, await started.ended]).toEqual([2, 2]);
      for (const { output } of [checked, started])
        expect(output()).toContain(`The file ${file} cannot be read (ENOENT).`);
      await rename(`${file}.away`, file);
      await vi.waitFor(async () => expect(await findings()).toEqual([]), 10_000);
      expect(await cairn(["config", "check", "-j", config]).ended).toBe(0);
    },
  );
});

describe("the command in a pipe", () => {
  test("ends quietly when its reader closes the pipe", async () => {
    const started = cairn(["config", "schema"]);
    started.child.stdout?.destroy();
    expect(await started.ended).toBe(0);
    expect(started.output()).toBe("");
  });
});
