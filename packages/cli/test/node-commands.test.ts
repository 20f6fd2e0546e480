import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { withFindings } from "@cairn/engine/src/findings/node-findings";
import { CHECKPOINT, MemoryNode } from "@cairn/test-support/nodes/memory-node";
import { serve, type ServedNode } from "@cairn/test-support/nodes/served-node";
import { cairn, CapturedTerminal, type CommandResult } from "@cairn/test-support/nodes/captured-terminal";

function run(served: ServedNode, argv: readonly string[], stdin?: string): Promise<CommandResult> {
  const env = { CAIRN_URL: served.url };
  return cairn(argv, new CapturedTerminal(stdin === undefined ? { env } : { env, stdin }));
}

function linesOf({ stdout }: CommandResult): number {
  return stdout.trimEnd().split("\n").length;
}

describe("documents", () => {
  test("are written, read, listed and deleted, even if their names contain dots and spaces", async () => {
    await using served = await serve();
    const key = "a b/../c%2F/";
    expect((await run(served, ["tx", "put", "pods", key, '{"x":1}'])).stdout).toBe(
      "created as transaction 2\n",
    );
    expect((await run(served, ["tx", "put", "pods", key, "-"], '{"x":2}')).stdout).toBe(
      "replaced as transaction 3\n",
    );
    expect((await run(served, ["get", "pods", key])).stdout).toBe('{\n  "x": 2\n}\n');
    expect(JSON.parse((await run(served, ["get", "pods", key, "--json"])).stdout)).toEqual({
      bucket: "pods",
      namespace: "a b",
      name: "../c%2F/",
      revision: 3,
      document: { x: 2 },
    });
    expect((await run(served, ["get", "pods", key, "--as-of", "2"])).stdout).toContain('"x": 1');
    expect((await run(served, ["list", "pods"])).stdout).toBe(
      'KEY           REVISION  DOCUMENT\na b/../c%2F/         3  {"x":2}\n',
    );
    const history = await run(served, ["history", "pods", key, "--json"]);
    expect(
      history.stdout
        .trim()
        .split("\n")
        .map((line) => (JSON.parse(line) as { revision: number }).revision),
    ).toEqual([3, 2]);
    expect((await run(served, ["tx", "delete", "pods", key])).stdout).toBe("deleted as transaction 4\n");
    expect((await run(served, ["history", "pods", key])).stdout).toContain("(deleted)");
  });

  test.each([
    ["tx put pods a @FILE", '{"name":"J\xfcrgen"}', "FILE is not text in UTF-8."],
    ["tx submit FILE", '{"ops":[["put","pods","a","J\xfcrgen"]]}', "FILE is not text in UTF-8."],
    ["tx put pods a @FILE", "\xff\xfe{\0}\0", "FILE is not text in UTF-8: it is UTF-16"],
  ])("are refused by %s if they are not UTF-8: %j", async (command, latin1, message) => {
    await using served = await serve();
    const folder = await mkdtemp(join(tmpdir(), "cairn-encodings-"));
    onTestFinished(() => rm(folder, { recursive: true }));
    const file = join(folder, "a.json");
    await writeFile(file, latin1, "latin1");
    const { code, stderr } = await run(served, command.replace("FILE", file).split(" "));
    expect([code, stderr]).toEqual([2, expect.stringContaining(message.replace("FILE", file))]);
    expect((await served.fetch("/api/v1/pods/a")).status).toBe(404);
  });

  test("may begin with the mark that some editors write before UTF-8", async () => {
    await using served = await serve();
    expect((await run(served, ["tx", "put", "pods", "a", "-"], '\ufeff{"x":1}')).stdout).toContain("created");
  });

  test("fit on a narrow terminal: a long key leaves room for its revision and its document", async () => {
    await using served = await serve();
    await run(served, ["tx", "put", "pods", `default/${"k".repeat(300)}`, '{"x":1}']);
    await run(served, ["tx", "put", "pods", "a", '{"x":2}']);
    const shown = async (columns: number): Promise<string[]> => {
      const terminal = new CapturedTerminal({ env: { CAIRN_URL: served.url }, isTTY: true });
      terminal.stdout.columns = columns;
      return (await cairn(["list", "pods"], terminal)).stdout.trimEnd().split("\n");
    };
    const lines = await shown(60);
    expect(lines).toHaveLength(3);
    for (const line of lines) expect(line.length).toBeLessThanOrEqual(60);
    expect(lines[1]).toMatch(/^default\/a +3 {2}{"x":2}$/);
    expect(lines[2]).toMatch(/^default\/k+… +2 {2}{"x":1}$/);
    // A terminal whose width is unknown truncates nothing.
    expect((await shown(0))[2]).toMatch(/^default\/k{300} +2 {2}{"x":1}$/);
  });

  test("that take several pages are printed under one heading", async () => {
    await using served = await serve();
    const puts = Array.from({ length: 1_001 }, (_, n) => ["put", "pods", `p${n}`, n]);
    await run(served, ["tx", "submit", "-"], JSON.stringify({ ops: puts }));
    const lines = (await run(served, ["list", "pods", "--all"])).stdout.trim().split("\n");
    expect(lines).toHaveLength(1_002);
    expect(lines.filter((line) => line.startsWith("KEY"))).toHaveLength(1);
    const writes = Array.from({ length: 1_001 }, (_, n) => `{"ops": [["put", "pods", "p0", ${n}]]}`);
    await run(served, ["load", "-", "--await"], writes.join("\n"));
    const history = (await run(served, ["history", "pods", "p0", "--limit", "1001"])).stdout;
    expect(history.trim().split("\n")).toHaveLength(1_002);
    expect(history.split("REVISION")).toHaveLength(2);
  });

  test("that do not exist make the command exit with 1, NOT_FOUND and a hint", async () => {
    await using served = await serve();
    const { code, stdout, stderr } = await run(served, ["get", "pods", "nope"]);
    expect([code, stdout]).toEqual([1, ""]);
    expect(stderr).toMatch(/^NOT_FOUND: There is no "default\/nope" in pods\.\n {2}hint: /);
  });

  test("are not written over another revision", async () => {
    await using served = await serve();
    await run(served, ["tx", "put", "pods", "x", "1", "--if-absent"]);
    expect(await run(served, ["tx", "put", "pods", "x", "2", "--if-absent"])).toMatchObject({ code: 1 });
    expect(await run(served, ["tx", "delete", "pods", "x", "--if-revision", "9"])).toMatchObject({ code: 1 });
    expect(await run(served, ["tx", "put", "pods", "x", "2", "--if-revision", "2"])).toMatchObject({
      code: 0,
    });
  });

  test("are sent with all their digits to the node, which refuses numbers that it would round", async () => {
    await using served = await serve();
    const { code, stderr } = await run(served, ["tx", "put", "pods", "x", "9007199254740993"]);
    expect(code).toBe(2);
    expect(stderr).toMatch(/^TX_INVALID: /);
  });

  test("that are too large are refused with an error that names the limit, however much was sent", async () => {
    await using served = await serve();
    const large = JSON.stringify("x".repeat(8_000_000));
    for (let round = 0; round < 5; round += 1) {
      const { code, stderr } = await run(served, ["tx", "put", "pods", "x", "-"], large);
      expect([code, stderr]).toEqual([
        2,
        expect.stringContaining("TX_TOO_LARGE: The body is larger than 1048576"),
      ]);
    }
  });

  test("are listed over all pages, in order", async () => {
    await using served = await serve();
    for (let i = 0; i < 2500; i += 1) {
      await served.node.submit({ ops: [["put", "pods", `default/${String(i).padStart(4, "0")}`, i]] });
    }
    const all = await run(served, ["list", "pods", "--all", "--json"]);
    const documents = all.stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as { document: number });
    expect(documents.map(({ document }) => document)).toEqual(Array.from({ length: 2500 }, (_, i) => i));
    const some = await run(served, ["list", "pods", "--limit", "1500", "--json"]);
    expect(some.stdout.trim().split("\n")).toHaveLength(1500);
    const few = await run(served, ["list", "pods", "--limit", "2"]);
    expect(few.stderr).toContain("There are more");
    expect((await run(served, ["list", "nothing"])).stderr).toBe("None found.\n");
  });

  test("are all printed in a pipe and with --json, and the first hundred on a terminal, which says so", async () => {
    await using served = await serve();
    const puts = Array.from({ length: 1_100 }, (_, n) => ["put", "pods", `p${n}`, n]);
    await run(served, ["tx", "submit", "-"], JSON.stringify({ ops: puts }));
    const writes = Array.from({ length: 150 }, (_, n) => `{"ops": [["put", "jobs", "j", ${n}]]}`);
    await run(served, ["load", "-", "--await"], writes.join("\n"));
    const onTerminal = (argv: readonly string[]): Promise<CommandResult> =>
      cairn(argv, new CapturedTerminal({ env: { CAIRN_URL: served.url }, isTTY: true }));
    const [list, history] = [
      ["list", "pods"],
      ["history", "jobs", "j"],
    ] as const;
    expect(linesOf(await run(served, list))).toBe(1_101);
    expect(linesOf(await run(served, [...list, "--json"]))).toBe(1_100);
    expect(linesOf(await onTerminal([...list, "--json"]))).toBe(1_100);
    expect(linesOf(await onTerminal([...list, "--all"]))).toBe(1_101);
    expect(linesOf(await run(served, history))).toBe(151);
    expect(linesOf(await run(served, [...history, "--json", "--limit", "120"]))).toBe(120);
    for (const argv of [list, history]) {
      const shown = await onTerminal(argv);
      expect([linesOf(shown), shown.stderr]).toEqual([101, expect.stringContaining("--limit")]);
      expect(linesOf(await onTerminal([...argv, "--limit", "130"]))).toBe(131);
    }
  });

  test("cannot send control characters to the terminal through their names", async () => {
    await using served = await serve();
    await served.node.submit({ ops: [["put", "pods", "default/\u001b[2Jx\n", 1]] });
    expect((await run(served, ["list", "pods"])).stdout).toContain("default/\\u001b[2Jx\\n");
  });
});

describe("tx submit", () => {
  test("prints the outcome, and exits with 1 if the transaction was aborted", async () => {
    await using served = await serve();
    const fine = await run(served, ["tx", "submit", "-"], '{"ops": [["put", "pods", "x", 1]]}');
    expect(fine).toMatchObject({ code: 0, stdout: "committed as transaction 2\n" });
    const dir = await mkdtemp(join(tmpdir(), "cairn-cli-"));
    try {
      const file = join(dir, "tx.json");
      await writeFile(file, '{"ops": [["match", "pods", "x", 1]]}');
      const aborted = await run(served, ["tx", "submit", file, "--json"]);
      expect(aborted.code).toBe(1);
      expect(JSON.parse(aborted.stdout)).toMatchObject({ committed: false });
      expect(JSON.parse(aborted.stderr)).toMatchObject({ error: { code: "CONFLICT" } });
    } finally {
      await rm(dir, { recursive: true });
    }
  });
});

describe("status and checkpoints", () => {
  test("are shown in a form for people and in one for programs", async () => {
    await using served = await serve();
    const { stdout } = await run(served, ["status"]);
    expect(stdout).toMatch(/^Node +node-1 \(Cairn 0\.0\.0-test\)\nPhase +ready \(12 ms after it started\)\n/);
    expect(JSON.parse((await run(served, ["status", "--json"])).stdout)).toEqual(await served.node.status());
    expect((await run(served, ["checkpoint", "list"])).stdout).toContain(CHECKPOINT.name);
    expect((await run(served, ["checkpoint", "show", CHECKPOINT.name])).stdout).toContain("Documents");
    expect(JSON.parse((await run(served, ["checkpoint", "create", "--json"])).stdout)).toEqual(CHECKPOINT);
    const unknown = await run(served, ["checkpoint", "show", "checkpoint-1"]);
    expect([unknown.code, unknown.stderr]).toEqual([1, expect.stringMatching(/^CHECKPOINT_NOT_FOUND: /)]);
  });

  test.each([
    ["unchanged", /^skipped: nothing has changed/],
    ["empty", /^skipped: the log has no transactions yet/],
  ] as const)("report why nothing was saved: %s", async (skipped, said) => {
    await using served = await serve();
    served.node.checkpointRound = () => ({ begun: Promise.resolve(), done: Promise.resolve({ skipped }) });
    expect((await run(served, ["checkpoint", "create"])).stdout).toMatch(said);
  });
});

describe("a node", () => {
  test("that does not respond makes a command exit with 3", async () => {
    const served = await serve();
    await served.server.close();
    for (const argv of [["status"], ["get", "pods", "x"], ["tx", "put", "pods", "x", "1"]]) {
      const { code, stderr } = await run(served, argv);
      expect(code).toBe(3);
      expect(stderr).toMatch(/^NOT_READY: No node responds at http:.*\n {2}hint: .*--url/);
    }
  });

  test("that is not ready makes a command exit with 3", async () => {
    await using served = await serve();
    served.node.phase = "restoring";
    expect(await run(served, ["list", "pods"])).toMatchObject({ code: 3 });
    expect(await run(served, ["status"])).toMatchObject({ code: 0 });
  });

  test("that has failed is shown by status, which then exits with 3", async () => {
    await using served = await serve();
    served.node.phase = "failed";
    const halted = { retries: false, nextTryAt: null };
    served.node.failure = {
      code: "LOG_DIFFERENT",
      message: "It is another log.",
      hint: "Look at it.",
      ...halted,
    };
    const shown = await run(served, ["status"]);
    expect(shown).toMatchObject({
      code: 3,
      stdout: expect.stringMatching(/^Phase +failed$/m),
      stderr: "NOT_READY: node-1: LOG_DIFFERENT: It is another log.\n  hint: Look at it.\n",
    });
    const { code, stdout, stderr } = await run(served, ["status", "--json"]);
    expect([code, JSON.parse(stdout)]).toEqual([3, await served.node.status()]);
    expect(JSON.parse(stderr)).toMatchObject({ error: { code: "NOT_READY", hint: "Look at it." } });
    expect(await run(served, ["status", "--wait", "PT10S"])).toMatchObject({
      code: 3,
      stdout: "",
      stderr: shown.stderr,
    });
  });

  test("that has failed and retries by itself is awaited until it is ready or the time limit is reached", async () => {
    await using served = await serve();
    served.node.phase = "failed";
    served.node.failure = { code: "LOG_GAP", message: "A gap.", hint: null, retries: true, nextTryAt: null };
    expect(await run(served, ["status", "--wait", "PT0.5S"])).toMatchObject({
      code: 3,
      stderr: expect.stringMatching(/^NOT_READY: node-1: LOG_GAP: A gap\./),
    });
    let asked = 0;
    const { status } = served.node;
    served.node.status = async () => {
      asked += 1;
      if (asked > 3) Object.assign(served.node, { phase: "ready", failure: null });
      return await status.call(served.node);
    };
    expect(await run(served, ["status", "--wait", "P25D"])).toMatchObject({ code: 0, stderr: "" });
  });

  test("that is ready, but whose log refuses transactions, is awaited until that is over", async () => {
    await using served = await serve();
    const { status } = served.node;
    let asked = 0;
    served.node.status = async () => {
      asked += 1;
      const known = await status.call(served.node);
      if (asked > 3) return known;
      const { findings: _findings, verdict: _verdict, ...facts } = known;
      const refused = { since: facts.index.txTime ?? "", code: "DISK_FULL", message: "Full.", hint: null };
      return withFindings({ ...facts, log: { ...facts.log, refused } }, 0);
    };
    expect(await run(served, ["status", "--wait", "P25D"])).toMatchObject({ code: 0, stderr: "" });
    expect(asked).toBeGreaterThan(3);
  });

  test.each(["restoring", "replaying", "stopping"] as const)(
    "that is %s is healthy: status exits with 0",
    async (phase) => {
      await using served = await serve();
      served.node.phase = phase;
      expect(await run(served, ["status"])).toMatchObject({ code: 0, stderr: "" });
    },
  );

  test.each([
    [200, /is not a Cairn node .*\n {2}hint: Another program /],
    [413, /a proxy or another program responds with status 413.*\n {2}hint: .* its limit for bodies /],
    [502, /a proxy or another program responds with status 502.*\n {2}hint: .* start the nodes behind it /],
  ])("is distinguished from another server (status %i)", async (status, expected) => {
    const server = createServer((_request, response) => {
      response.writeHead(status).end("<html>");
    }).listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    const { port } = server.address() as AddressInfo;
    for (const more of [[], ["--cluster"]]) {
      const { code, stderr } = await cairn(["status", "--url", `http://127.0.0.1:${port}`, ...more]);
      expect([code, stderr]).toEqual([3, expect.stringMatching(expected)]);
    }
    server.close();
  });

  test("whose clock differs is shown by its own clock", async () => {
    const ahead = Date.now() + 5 * 86_400_000;
    const own = await new MemoryNode().status();
    const nextCheckAt = new Date(ahead + 120_000).toISOString();
    const status = withFindings({ ...own, checkpoints: { ...own.checkpoints, nextCheckAt } }, ahead);
    const server = createServer((_request, response) => {
      response.setHeader("date", new Date(ahead).toUTCString());
      response.setHeader("x-request-id", "1");
      response.setHeader("content-type", "application/json");
      response.end(JSON.stringify(status));
    }).listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    const { port } = server.address() as AddressInfo;
    const { stdout } = await cairn(["status", "--url", `http://127.0.0.1:${port}`]);
    expect(stdout).toMatch(/^Next check +in (?:1 min 59|2 min)/m);
    server.close();
  });

  test("that has a token receives it from --token or the environment, and other tokens make a command exit with 2", async () => {
    await using served = await serve({ authToken: "s3cret" });
    expect(await run(served, ["status"])).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/^UNAUTHORIZED/),
    });
    expect(await run(served, ["status", "--token", "s3cret"])).toMatchObject({ code: 0 });
    expect(await run(served, ["status", "--token", "s3\ncret"])).toMatchObject({
      code: 2,
      stderr: /^USAGE: .* line end/,
    });
    const env = { CAIRN_URL: served.url, CAIRN_AUTH_TOKEN: "s3cret" };
    expect(await cairn(["status"], new CapturedTerminal({ env }))).toMatchObject({ code: 0 });
  });

  test("behind a proxy's path is found", async () => {
    await using served = await serve();
    const { code } = await run(served, ["status", "--url", `${served.url}/`]);
    expect(code).toBe(0);
  });
});
