import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

const MAIN = fileURLToPath(new URL("../../../dist/bundle/cli/main.js", import.meta.url));

let dir = "";
let child: ChildProcess | undefined;
let output = "";

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "cairn-service-"));
  output = "";
});

afterEach(async () => {
  if (child?.exitCode === null && child.signalCode === null) {
    child.kill("SIGKILL");
    await once(child, "exit");
  }
  await rm(dir, { recursive: true, force: true });
});

/** Puts a systemd-notify on the node's PATH that records what it is told, because not every machine has systemd. */
async function recordReports(exitCode: number): Promise<void> {
  const script = `#!/bin/sh\necho "$NOTIFY_SOCKET $*" >> "${join(dir, "reports")}"\nexit ${exitCode}\n`;
  await writeFile(join(dir, "systemd-notify"), script, { mode: 0o755 });
}

async function reports(): Promise<string> {
  return await readFile(join(dir, "reports"), "utf8").catch(() => "");
}

function start(env: Record<string, string>): Promise<unknown[]> {
  const started = spawn(process.execPath, [MAIN, "start"], {
    cwd: dir,
    env: {
      PATH: `${dir}${delimiter}${process.env["PATH"] ?? ""}`,
      CAIRN_NODE_ID: "node-1",
      CAIRN_HTTP_PORT: "0",
      ...env,
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  child = started;
  for (const stream of [started.stdout, started.stderr])
    stream.on("data", (chunk) => (output += String(chunk)));
  return once(started, "close");
}

describe("a node that systemd started", () => {
  test("reports that it is ready, and that it stops", async () => {
    await recordReports(0);
    const ended = start({ NOTIFY_SOCKET: "/run/systemd/notify" });
    await expect.poll(reports).toBe("/run/systemd/notify READY=1\n");
    expect(output).toContain("node-1 is ready");
    child?.kill("SIGTERM");
    expect(await ended).toEqual([0, null]);
    await expect.poll(reports).toBe("/run/systemd/notify READY=1\n/run/systemd/notify STOPPING=1\n");
    expect(output).not.toContain("systemd-notify");
  });

  test("works, and warns, if it cannot report", async () => {
    await recordReports(1);
    const ended = start({ NOTIFY_SOCKET: "/run/systemd/notify" });
    await expect
      .poll(() => output)
      .toContain("systemd was not told READY=1, because systemd-notify failed (1)");
    const url = /"url":"([^"]+)"/.exec(output)?.[1] ?? "";
    expect((await fetch(`${url}/health/ready`)).status).toBe(200);
    child?.kill("SIGTERM");
    expect(await ended).toEqual([0, null]);
  });

  test("works, and warns, if there is no systemd-notify", async () => {
    const ended = start({ NOTIFY_SOCKET: "/run/systemd/notify", PATH: dir });
    await expect.poll(() => output).toContain("systemd-notify failed (spawn systemd-notify ENOENT)");
    child?.kill("SIGTERM");
    expect(await ended).toEqual([0, null]);
  });
});

test("a node that anything else started reports nothing", async () => {
  await recordReports(0);
  const ended = start({});
  await expect.poll(() => output).toContain("node-1 is ready");
  child?.kill("SIGTERM");
  expect(await ended).toEqual([0, null]);
  expect(await reports()).toBe("");
});
