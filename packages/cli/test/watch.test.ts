import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { readEventStream, type SentEvent } from "@cairn/client/protocol";
import { type CairnNode, openEmbeddedTxLog } from "@cairn/engine";
import { runNode } from "@cairn/node";
import { quietSystem } from "@cairn/test-support/nodes/quiet-system";
import { madePosition, positionAfter } from "@cairn/test-support/nodes/positions";
import { submit } from "@cairn/test-support/nodes/watch-reader";
import { startStallingProxy } from "@cairn/test-support/links/stalling-proxy";
import { serve } from "@cairn/test-support/nodes/served-node";
import { cairn, CapturedTerminal } from "@cairn/test-support/nodes/captured-terminal";

let folder = "";
let node: CairnNode;
const servers: Server[] = [];
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-watch-cli-"));
  const openTxLog = async () => await openEmbeddedTxLog({ path: path.join(folder, "node-1-log") });
  const http = { host: "127.0.0.1", port: 0, maxBody: 1_048_576 };
  node = await runNode({ ...quietSystem({ folder, nodeId: "node-1", openTxLog }), http });
  await node.ready;
});
afterEach(async () => {
  await node.close();
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
  await rm(folder, { recursive: true, force: true });
});

/** Starts a server that takes the place of a node and responds with `listener`. */
async function answering(listener: RequestListener): Promise<string> {
  const server = createServer((request, response) =>
    listener(request, response.setHeader("x-request-id", "1")),
  );
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function watching(...argv: readonly string[]) {
  const terminal = new CapturedTerminal({ env: { CAIRN_URL: node.url } });
  return { terminal, result: cairn(["watch", ...argv], terminal) };
}

async function txIdsIn(file: string): Promise<number[]> {
  const lines = (await readFile(file, "utf8")).trim().split("\n");
  return lines.map((line) => (JSON.parse(line) as { txId: number }).txId);
}

describe("cairn watch", () => {
  it("prints past and new changes until it is interrupted", async () => {
    await submit(node, ["put", "pods", "a", { n: 1 }], ["put", "nodes", "b", 2]);
    const { terminal, result } = watching("--from", "0");
    await vi.waitFor(() => expect(terminal.stdout.text).toContain("nodes default/b"));
    await submit(node, ["delete", "pods", "a"]);
    await vi.waitFor(() => expect(terminal.stdout.text).toContain("delete"));
    terminal.signal("SIGINT");
    expect(await result).toMatchObject({ code: 0, stderr: "" });
    const time = /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC {2}/;
    expect(terminal.stdout.text.split("\n").map((line) => line.replace(time, ""))).toEqual([
      '2  put     pods default/a  {"n":1}',
      "2  put     nodes default/b  2",
      "3  delete  pods default/a",
      "",
    ]);
  });

  it("prints a limited number of transactions of a bucket and namespace as they were sent, with --json", async () => {
    const txId = await submit(node, ["put", "pods", "prod/a", { n: 1 }], ["put", "nodes", "prod/b", 2]);
    await submit(node, ["put", "pods", "test/c", 3]);
    await submit(node, ["put", "pods", "prod/d", 4]);
    const from = await positionAfter(node, 1);
    const { result } = watching("pods", "--namespace", "prod", "--from", from, "--json", "--limit", "2");
    const { code, stdout } = await result;
    const [first, second, ...rest] = stdout.split("\n");
    expect([code, rest]).toEqual([0, [""]]);
    expect(JSON.parse(first ?? "")).toEqual({
      txId,
      txTime: (await node.await(txId)).txTime,
      position: await positionAfter(node, txId),
      changes: [
        { op: "put", bucket: "pods", namespace: "prod", name: "a", revision: txId, document: { n: 1 } },
      ],
    });
    expect(JSON.parse(second ?? "")).toMatchObject({ txId: txId + 2, changes: [{ name: "d" }] });
  });

  it("runs a command for each transaction, one at a time and in order, and stops with its exit code", async () => {
    for (const n of [1, 2, 3, 4]) await submit(node, ["put", "pods", "a", n], ["put", "pods", "b", n]);
    const [handled, running] = [path.join(folder, "handled"), path.join(folder, "running")];
    // mkdir fails if another command is running.
    const command = `mkdir ${running} && cat >> ${handled} && rmdir ${running}`;
    const [from, third] = [await positionAfter(node, 1), await positionAfter(node, 3)];
    const failing = `${command} && ! grep -q '"txId":4' ${handled} || exit 7`;
    const { code, stdout, stderr } = await watching("pods", "--from", from, "--exec", failing).result;
    expect([code, stdout]).toEqual([7, ""]);
    expect(stderr).toMatch(/^COMMAND_FAILED: The command failed for transaction 4, with exit code 7\.\n/);
    const [, next = ""] = /\n {2}hint: .* continue with --from (\S+)\.\n$/.exec(stderr) ?? [];
    expect(next).toBe(third);
    expect(await txIdsIn(handled)).toEqual([2, 3, 4]);
    expect(await watching("pods", "--from", next, "--exec", command, "--limit", "2").result).toMatchObject({
      code: 0,
      stderr: "",
    });
    expect(await txIdsIn(handled)).toEqual([2, 3, 4, 4, 5]);
    const { stdout: printed } = await watching("--from", from, "--json", "--limit", "1").result;
    expect((await readFile(handled, "utf8")).slice(0, printed.length)).toBe(printed);
  });

  it.each([
    ["true", 0],
    ["kill -9 $$", 137],
    ["no-such-command 2> /dev/null", 127],
  ])("with the command %s, which reads nothing, ends with %i", async (command, expected) => {
    await submit(node, ["put", "pods", "a", "x".repeat(500_000)]);
    const from = await positionAfter(node, 1);
    const { code } = await watching("--from", from, "--exec", command, "--limit", "1").result;
    expect(code).toBe(expected);
  });

  it("continues at the next node when a connection breaks, without losing or repeating a change", async () => {
    for (const n of [1, 2, 3]) await submit(node, ["put", "pods", "a", n]);
    const queries: (string | undefined)[] = [];
    const [from, position] = [await positionAfter(node, 1), await positionAfter(node, 2)];
    const broken = await answering((request, response) => {
      queries.push(request.url);
      response.writeHead(200, { "content-type": "text/event-stream" });
      const change = `{"op":"put","bucket":"pods","namespace":"default","name":"a","revision":2,"document":1}`;
      response.write(
        `id: ${position}\nevent: tx\ndata: {"txId":2,"txTime":null,"position":"${position}","changes":[${change}]}\n\nid: 3\nevent: t`,
      );
      setImmediate(() => response.destroy());
    });
    const { result, terminal } = watching(
      "--from",
      from,
      "--limit",
      "3",
      "--json",
      "--url",
      broken,
      "--url",
      node.url ?? "",
    );
    const { code, stdout } = await result;
    const told = stdout
      .trim()
      .split("\n")
      .map((line) => (JSON.parse(line) as { txId: number }).txId);
    expect([code, told]).toEqual([0, [2, 3, 4]]);
    expect(queries).toEqual([`/api/v1/watch?from=${from}`]);
    expect(terminal.stderr.text).toBe("");
  });

  it("skips a node that is not ready, and reports it", async () => {
    await submit(node, ["put", "pods", "a", 1]);
    const joining = await answering((_, response) => {
      response
        .writeHead(503)
        .end('{"error":{"code":"NOT_READY","message":"The node is restoring.","hint":null}}');
    });
    const from = await positionAfter(node, 1);
    const { result } = watching("--from", from, "--limit", "1", "--url", joining, "--url", node.url ?? "");
    const { code, stdout, stderr } = await result;
    expect([code, stdout]).toEqual([0, expect.stringContaining("2  put     pods default/a  1\n")]);
    expect(stderr).toBe(`The node is restoring (${joining}). Continuing from position ${from}.\n`);
  });

  it("goes to the next node if its request does not reach a node in time", async () => {
    await submit(node, ["put", "pods", "a", 1]);
    await using slow = await serve({ requestTimeoutMs: 100 });
    const stalling = await startStallingProxy(slow.url, 0);
    const from = await positionAfter(node, 1);
    const urls = ["--url", stalling.url, "--url", node.url ?? ""];
    const { code, stdout, stderr } = await watching("--from", from, "--limit", "1", ...urls).result;
    stalling.close();
    expect([code, stdout]).toEqual([0, expect.stringContaining("2  put     pods default/a  1\n")]);
    expect(stderr).toMatch(/^The request did not arrive in time \(.*\)\. Continuing from position /);
  });

  it("exits with 1 and reports where to begin again if the requested history has been pruned", async () => {
    const compacted = await answering((_, response) => {
      const error = { code: "WATCH_COMPACTED", message: "Gone before 40.", hint: "List, then watch." };
      response.writeHead(410).end(JSON.stringify({ error, floor: madePosition(40) }));
    });
    const { code, stderr } = await watching("--from", madePosition(1), "--url", compacted).result;
    expect([code, stderr]).toEqual([1, "WATCH_COMPACTED: Gone before 40.\n  hint: List, then watch.\n"]);
  });

  it("exits with 1 if the log lost transactions that it printed", async () => {
    const regressed = await answering((_, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      const cutoff = {
        txId: 0,
        txTime: null,
        position: "0",
        reason: "regressed",
        message: "Transaction 7 is another one.",
      };
      response.end(`event: cutoff\ndata: ${JSON.stringify(cutoff)}\n\n`);
    });
    const { code, stderr } = await watching("--from", madePosition(7), "--url", regressed).result;
    expect([code, stderr]).toEqual([
      1,
      expect.stringContaining("WATCH_COMPACTED: Transaction 7 is another one."),
    ]);
  });

  it("exits with 3 if no node ever responded, and with 2 for an invalid address or position", async () => {
    await node.close();
    const { code, stderr } = await watching("--url", "http://127.0.0.1:1", "--url", "http://127.0.0.1:2")
      .result;
    expect([code, stderr]).toEqual([
      3,
      expect.stringContaining("NOT_READY: No node responds at http://127.0.0.1:2"),
    ]);
    expect((await watching("--url", "ftp://localhost").result).code).toBe(2);
    const wrong = await watching("--from", "7").result;
    expect([wrong.code, wrong.stderr]).toEqual([2, expect.stringContaining("--from must be a position")]);
  });
});

describe("a stream of events", () => {
  const text = ': hello\n\nid: 1\nevent: tx\ndata: {"a":\ndata: 1}\n\ndata:x\n\nevent: none\n\nevent: cut';

  it("yields the same events wherever it is split", async () => {
    for (let at = 0; at <= text.length; at += 1) {
      for (const end of [at + 1, at + 2, text.length]) {
        const parts = [text.slice(0, at), text.slice(at, end), text.slice(end)];
        const read: SentEvent[] = [];
        for await (const event of readEventStream(streamOf(parts))) read.push(event);
        expect(read).toEqual([
          { event: "tx", data: '{"a":\n1}' },
          { event: "message", data: "x" },
        ]);
      }
    }
  });
});

async function* streamOf(parts: readonly string[]): AsyncGenerator<string, void> {
  for (const part of parts) yield await Promise.resolve(part);
}
