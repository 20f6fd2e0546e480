import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { Agent, get, type IncomingMessage, request } from "node:http";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { text } from "node:stream/consumers";
import { promisify } from "node:util";
import { expect, it, onTestFinished, vi } from "vitest";
import { CAIRN, NodeProcess, ROOT } from "@cairn/test-support/cairn-process";

const REPORT_ERROR = path.join(ROOT, "packages/cli/dist/src/terminal/report-error.js");
const OPEN_FILES = 400;
const IDLE_CONNECTIONS = 600;
const KEYS = 25;
const DOCUMENT_BYTES = 60_000;

const documentOf = (round: number, key: number): string => `${round}/${key} `.padEnd(DOCUMENT_BYTES, "x");

/** Starts a node that may open {@link OPEN_FILES} files. */
async function startLimited(): Promise<{ dir: string; node: NodeProcess; url: string }> {
  const dir = await mkdtemp(path.join(tmpdir(), "cairn-open-files-"));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  const node = NodeProcess.start({ id: "limited", dir, openFiles: OPEN_FILES });
  onTestFinished(() => node.kill());
  await node.ready();
  return { dir, node, url: await node.url() };
}

/** Opens connections that never send anything. The node may close some of them. */
async function openIdleConnections(port: number): Promise<Socket[]> {
  const sockets = Array.from({ length: IDLE_CONNECTIONS }, () => connect(port, "127.0.0.1"));
  await Promise.all(
    sockets.map(async (socket) => {
      socket.on("error", () => undefined);
      await Promise.race([once(socket, "connect"), once(socket, "close")]);
    }),
  );
  return sockets;
}

async function put(
  url: string,
  round: number,
  key: number,
  agent: Agent | false = false,
): Promise<{ status: number | undefined; code?: string }> {
  const body = JSON.stringify({ text: documentOf(round, key) });
  const headers = { "content-type": "application/json" };
  const sent = request(`${url}/api/v1/documents/things/k${key}`, { method: "PUT", headers, agent });
  sent.end(body);
  const [answer] = await once(sent, "response");
  const { error } = JSON.parse(await text(answer)) as { error?: { code: string } };
  return { status: answer.statusCode, ...(error === undefined ? {} : { code: error.code }) };
}

async function putAll(url: string, round: number): Promise<(number | undefined)[]> {
  const statuses: (number | undefined)[] = [];
  for (let key = 0; key < KEYS; key += 1) {
    // A kept connection would be idle between two puts and could be closed in favor of another one.
    statuses.push((await put(url, round, key)).status);
  }
  return statuses;
}

/** Changes a running process's limit on open files. Files that are open stay open. */
async function limitOpenFiles(pid: number, openFiles: number): Promise<void> {
  await promisify(execFile)("prlimit", [`--pid=${pid}`, `--nofile=${openFiles}:${OPEN_FILES}`]);
}

/** Reads a document on a new connection. */
async function read(url: string, key: number): Promise<unknown> {
  const [answer] = await once(get(`${url}/api/v1/documents/things/k${key}`, { agent: false }), "response");
  return JSON.parse(await text(answer));
}

/** Returns the descriptor of the next file that the process will open. */
async function lowestFree(pid: number): Promise<number> {
  const used = new Set(await readdir(`/proc/${pid}/fd`));
  let number = 0;
  while (used.has(String(number))) number += 1;
  return number;
}

it(
  "idle connections do not deprive the index and the log of files: all puts succeed, and nothing is moved aside",
  { tags: "rest/slow" },
  async () => {
    const { dir, node, url } = await startLimited();
    expect(await putAll(url, 0)).toEqual(Array.from({ length: KEYS }, () => 201));

    const idle = await openIdleConnections(Number(new URL(url).port));
    for (let round = 1; round <= 4; round += 1) {
      expect(await putAll(url, round)).toEqual(Array.from({ length: KEYS }, () => 200));
    }
    const files = await readdir(`/proc/${node.pid}/fd`);
    expect(files.length).toBeLessThan(OPEN_FILES - 64);
    for (const socket of idle) socket.destroy();

    for (let key = 0; key < KEYS; key += 1) {
      expect(await read(url, key)).toMatchObject({ text: documentOf(4, key) });
    }
    expect(await node.status()).toMatchObject({ phase: "ready", failure: null });
    expect(await readdir(path.join(dir, "limited-index"))).not.toContain("quarantine");
    expect(node.output()).not.toMatch(/INDEX_CORRUPT|INTERNAL|SYSTEM_REFUSED/);
    expect(await readFile(`/proc/${node.pid}/limits`, "utf8")).toMatch(/Max open files\s+400\s+400/);
  },
);

it(
  "a node that cannot open another file refuses writes, keeps its index and log, and continues by itself",
  { tags: "rest/slow" },
  async () => {
    const { dir, node, url } = await startLimited();
    await putAll(url, 0);
    const acknowledged = new Map(
      Array.from({ length: KEYS }, (_, key) => [key, new Set([documentOf(0, key)])]),
    );

    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    onTestFinished(() => agent.destroy());
    await put(url, 0, 0, agent);
    // The agent's connection stays open. LevelDB uses its open files until it begins a new write-ahead log.
    await limitOpenFiles(node.pid, await lowestFree(node.pid));
    const codes = new Set<string | undefined>();
    for (let n = 0; n < 200 && codes.size === 0; n += 1) {
      const key = n % KEYS;
      const { status, code } = await put(url, n + 1, key, agent);
      if (status === 200) acknowledged.set(key, new Set([documentOf(n + 1, key)]));
      else {
        // A refused document may nevertheless be in the log.
        acknowledged.get(key)?.add(documentOf(n + 1, key));
        codes.add(code);
      }
    }
    expect([...codes]).toEqual([expect.stringMatching(/^(?:SYSTEM_REFUSED|NOT_READY|LOG_UNREACHABLE)$/)]);

    await limitOpenFiles(node.pid, OPEN_FILES);
    await node.ready();
    for (const [key, documents] of acknowledged) {
      const { text: found } = (await read(url, key)) as { text: string };
      expect(documents.has(found)).toBe(true);
    }
    expect((await put(url, 999, 0)).status).toBe(200);
    expect(await read(url, 0)).toMatchObject({ text: documentOf(999, 0) });
    expect(await node.status()).toMatchObject({ phase: "ready", failure: null, join: { movedAside: [] } });
    expect(await readdir(path.join(dir, "limited-index"))).not.toContain("quarantine");
    expect(node.output()).not.toMatch(/INDEX_CORRUPT|INTERNAL|LOG_GAP|LOG_REGRESSED/);
  },
);

/** Opens a watch on a connection of its own, and returns its status and its error, if it is refused. */
async function openWatch(url: string, headers: Readonly<Record<string, string>> = {}) {
  const sent = get(`${url}/api/v1/watch`, { agent: false, headers });
  onTestFinished(() => void sent.destroy());
  const [answer] = (await once(sent, "response")) as [IncomingMessage];
  const { statusCode: status } = answer;
  const close = (): unknown => sent.destroy();
  if (status === 200 && headers["accept"] === undefined) return { status, close };
  const body = await text(answer);
  return { status, close, body, error: status === 200 ? undefined : (JSON.parse(body) as object) };
}

it(
  "watches leave connections for everything else, and those beyond them are refused, with a finding",
  { tags: "rest/slow" },
  async () => {
    const { dir, node, url } = await startLimited();
    const watches: Awaited<ReturnType<typeof openWatch>>[] = [];
    while (watches.at(-1)?.status !== 503) watches.push(await openWatch(url));
    expect(new Set(watches.slice(0, -1).map(({ status }) => status))).toEqual(new Set([200]));
    const refusal = {
      code: "OVERLOADED",
      message: `All watches that this node's limit on open files allows are open (${watches.length - 1}).`,
      hint: expect.stringMatching(/^Use another node, or raise the limit on open files/) as string,
    };
    expect(watches.at(-1)?.error).toEqual({ error: refusal });
    // An EventSource would not connect again after an error.
    expect(await openWatch(url, { accept: "text/event-stream" })).toMatchObject({
      status: 200,
      body: expect.stringMatching(/^retry: \d+\n: All watches .*\n\n$/) as string,
    });
    for (const address of ["health/live", "health/ready", "metrics", "status", "api/v1/things"]) {
      const [answer] = (await once(get(`${url}/${address}`, { agent: false }), "response")) as [
        IncomingMessage,
      ];
      expect([address, answer.statusCode]).toEqual([address, 200]);
      answer.resume();
    }
    expect((await put(url, 0, 0)).status).toBe(201);
    const { code: error, message, hint } = refusal;
    const found = { code: "connections-refused", severity: "attention", error, message, hint };
    expect((await node.status()).findings).toMatchObject([found]);
    const cluster = (await (await fetch(`${url}/status/cluster`)).json()) as object;
    expect(cluster).toMatchObject({ findings: [found], verdict: { state: "attention" } });
    watches[0]?.close();
    await vi.waitFor(async () => expect((await openWatch(url)).status).toBe(200));

    // The hint: raise the limit, and restart the node.
    await node.stop();
    const raised = NodeProcess.start({ id: "limited", dir, openFiles: 2 * OPEN_FILES });
    onTestFinished(() => raised.kill());
    await raised.ready();
    for (const _ of watches) expect((await openWatch(await raised.url())).status).toBe(200);
    expect((await raised.status()).findings).toEqual([]);
  },
);

const ANY_PORT = JSON.stringify({ "cairn/http-server": { port: 0 } });

it("a program that cannot even open its own files names the limit to raise", async () => {
  const folder = await mkdtemp(path.join(tmpdir(), "cairn-few-files-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const started = promisify(execFile)(
    "sh",
    ["-c", `ulimit -n 26; exec "$0" "$1" start -j "$2"`, process.execPath, CAIRN, ANY_PORT],
    { cwd: folder, timeout: 60_000, killSignal: "SIGKILL" },
  );
  await expect(started).rejects.toMatchObject({
    stderr: expect.stringMatching(/^SYSTEM_REFUSED: [^]*hint: .*[Rr]aise the limit on open files/) as string,
  });
  expect(await readdir(folder)).toEqual([]);
});

it("a command whose modules are not found names the limit to raise", async () => {
  // The refused file differs from start to start, so the test injects the error.
  const program = `
    const { reportError } = await import(${JSON.stringify(REPORT_ERROR)});
    const error = await import("@cairn/none").catch((error) => error);
    process.exitCode = await reportError(error, process, { json: true, debug: false });`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", program], {
    cwd: ROOT,
    stdio: ["ignore", "ignore", "pipe"],
  });
  const [told, [exitCode]] = await Promise.all([text(child.stderr), once(child, "close")]);
  const hint = expect.stringContaining("Raise the limit on open files");
  expect([exitCode, JSON.parse(told)]).toEqual([
    3,
    { error: { code: "SYSTEM_REFUSED", message: expect.stringContaining("@cairn/none"), hint } },
  ]);
});
