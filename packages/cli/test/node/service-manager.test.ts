import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, test as base } from "vitest";

const MAIN = fileURLToPath(new URL("../../dist/bundle/main.js", import.meta.url));

/** A node in a separate process, which may find a systemd-notify on its PATH. */
class ServedNode {
  readonly dir: string;
  output = "";
  #child: ChildProcess | undefined;

  constructor(dir: string) {
    this.dir = dir;
  }

  /** Puts a systemd-notify on its PATH that records what it is told, because not every machine has systemd. */
  async recordReports(exitCode: number): Promise<void> {
    const script = `#!/bin/sh\necho "$NOTIFY_SOCKET $*" >> "${join(this.dir, "reports")}"\nexit ${exitCode}\n`;
    await writeFile(join(this.dir, "systemd-notify"), script, { mode: 0o755 });
  }

  async reports(): Promise<string> {
    return await readFile(join(this.dir, "reports"), "utf8").catch(() => "");
  }

  /** Returns how it ends. */
  async start(env: Record<string, string>): Promise<unknown[]> {
    const child = spawn(process.execPath, [MAIN, "start"], {
      cwd: this.dir,
      env: {
        PATH: `${this.dir}${delimiter}${process.env["PATH"] ?? ""}`,
        CAIRN_NODE_ID: "node-1",
        CAIRN_HTTP_PORT: "0",
        ...env,
      },
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#child = child;
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (chunk) => (this.output += String(chunk)));
    return await once(child, "close");
  }

  stop(): void {
    this.#child?.kill("SIGTERM");
  }

  async end(): Promise<void> {
    const child = this.#child;
    if (child?.exitCode === null && child.signalCode === null) {
      child.kill("SIGKILL");
      await once(child, "exit");
    }
    await rm(this.dir, { recursive: true, force: true });
  }
}

const test = base.extend<{ node: ServedNode }>({
  node: async ({ onTestFinished }, use) => {
    const node = new ServedNode(await mkdtemp(join(tmpdir(), "cairn-service-")));
    onTestFinished(() => node.end());
    await use(node);
  },
});

describe.concurrent("a node that systemd started", () => {
  test("reports that it is ready, and that it stops", { tags: "rest/slow" }, async ({ node, expect }) => {
    await node.recordReports(0);
    const ended = node.start({ NOTIFY_SOCKET: "/run/systemd/notify" });
    await expect.poll(() => node.reports()).toBe("/run/systemd/notify READY=1\n");
    expect(node.output).toContain("node-1 is ready");
    node.stop();
    expect(await ended).toEqual([0, null]);
    await expect
      .poll(() => node.reports())
      .toBe("/run/systemd/notify READY=1\n/run/systemd/notify STOPPING=1\n");
    expect(node.output).not.toContain("systemd-notify");
  });

  test("works, and warns, if it cannot report", { tags: "rest/slow" }, async ({ node, expect }) => {
    await node.recordReports(1);
    const ended = node.start({ NOTIFY_SOCKET: "/run/systemd/notify" });
    await expect
      .poll(() => node.output)
      .toContain("systemd was not told READY=1, because systemd-notify failed (1)");
    const url = /"url":"([^"]+)"/.exec(node.output)?.[1] ?? "";
    expect((await fetch(`${url}/health/ready`)).status).toBe(200);
    node.stop();
    expect(await ended).toEqual([0, null]);
  });

  test("works, and warns, if there is no systemd-notify", { tags: "rest/slow" }, async ({ node, expect }) => {
    const ended = node.start({ NOTIFY_SOCKET: "/run/systemd/notify", PATH: node.dir });
    await expect.poll(() => node.output).toContain("systemd-notify failed (spawn systemd-notify ENOENT)");
    node.stop();
    expect(await ended).toEqual([0, null]);
  });
});

test.concurrent("a node that anything else started reports nothing", async ({ node, expect }) => {
  await node.recordReports(0);
  const ended = node.start({});
  await expect.poll(() => node.output).toContain("node-1 is ready");
  node.stop();
  expect(await ended).toEqual([0, null]);
  expect(await node.reports()).toBe("");
});

/** Has a process that counts as process 1 receive a signal while it loads its modules. */
const SIGNAL_TO_FIRST = `
const { pid } = process;
Object.defineProperty(process, "pid", { value: 1 });
process.on("newListener", (name) => {
  if (name === "SIGTERM") queueMicrotask(() => process.kill(pid, "SIGTERM"));
});`;

test("a node that is process 1 ends if it receives a signal before it handles signals", async ({
  node,
  expect,
}) => {
  const NODE_OPTIONS = `--import=data:text/javascript,${encodeURIComponent(SIGNAL_TO_FIRST)}`;
  expect(await node.start({ NODE_OPTIONS })).toEqual([143, null]);
  expect(node.output).toBe("");
});
