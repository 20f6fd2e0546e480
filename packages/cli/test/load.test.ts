import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { type AddressInfo, connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { CairnError } from "@cairn/kv";
import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import { chunkBytes, type NdjsonChunk, ndjsonChunks, readLines } from "../src/requests/ndjson-chunks.ts";
import { NodeClient } from "../src/requests/node-client.ts";
import { sendChunks } from "../src/requests/send-chunks.ts";
import { MemoryNode } from "@cairn/test-support/nodes/memory-node";
import { serve, type ServedNode } from "@cairn/test-support/nodes/served-node";
import { cairn, CapturedTerminal, type CommandResult } from "@cairn/test-support/nodes/captured-terminal";

function line(i: number, pad = ""): string {
  return JSON.stringify({ ops: [["put", "pods", `default/${i}`, { i, pad }]], id: `id-${i}` });
}

function lines(count: number, pad?: string): string {
  return Array.from({ length: count }, (_, i) => `${line(i, pad)}\n`).join("");
}

function load(served: ServedNode, stdin: string, ...options: string[]): Promise<CommandResult> {
  return cairn(["load", "-", "--url", served.url, ...options], new CapturedTerminal({ stdin }));
}

describe("load", () => {
  test("stores every line in the order of the file", { tags: "rest/slow" }, async () => {
    await using served = await serve();
    const dir = await mkdtemp(join(tmpdir(), "cairn-load-"));
    try {
      await writeFile(join(dir, "history.ndjson"), lines(20_000, "x".repeat(100)));
      const terminal = new CapturedTerminal({ cwd: dir, env: { CAIRN_URL: served.url } });
      const { code, stdout, stderr } = await cairn(["load", "history.ndjson", "--await"], terminal);
      // A load that takes seconds reports its progress.
      expect([code, stderr.replaceAll(/^loading .*\n/gm, "")]).toEqual([0, ""]);
      expect(stdout).toMatch(/^loaded 20,000 transactions in [\d.]+ s \([\d,]+\/s\), last tx-id 20001\n$/);
      expect(served.node.submitted.map(({ id }) => id)).toEqual(
        Array.from({ length: 20_000 }, (_, i) => `id-${i}`),
      );
    } finally {
      await rm(dir, { recursive: true });
    }
  });

  test("skips the lines before --from-line, counting blank ones", async () => {
    await using served = await serve();
    const { stdout } = await load(
      served,
      `${line(0)}\r\n\r\n${line(1)}\r\n${line(2)}`,
      "--from-line",
      "3",
      "--json",
    );
    expect(JSON.parse(stdout)).toMatchObject({ transactions: 2, lastTxId: 3 });
    expect(served.node.submitted.map(({ id }) => id)).toEqual(["id-1", "id-2"]);
  });

  test("is refused if the input ends before --from-line", async () => {
    await using served = await serve();
    const { code, stderr } = await load(served, lines(3), "--from-line", "99");
    expect([code, stderr]).toEqual([2, expect.stringContaining("no transaction in line 99")]);
    expect((await load(served, lines(3), "--from-line", "4")).code).toBe(0);
  });

  test("of an empty input loads nothing", async () => {
    await using served = await serve();
    expect((await load(served, "")).stdout).toMatch(/^loaded 0 transactions in [\d.]+ s\n$/);
  });

  test("stops at an invalid line and reports its number, the loaded transactions, and how to continue", async () => {
    await using served = await serve();
    const before = lines(15_000, "x".repeat(100));
    const { code, stdout, stderr } = await load(served, `${before}{"ops":\n${line(99)}\n`);
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toMatch(/^TX_INVALID: Line 15001: /);
    expect(stderr).toContain(
      "Continue with --from-line 15001. 15000 transactions were loaded before the error.",
    );
    expect(served.node.submitted).toHaveLength(15_000);
  });

  test("waits for a node that is not ready yet, and reports it once", async () => {
    const node = new MemoryNode();
    await using served = await serve({ node });
    node.submitError = new CairnError("NOT_READY", "The node is restoring.");
    const loading = load(served, lines(10));
    await vi.waitFor(() => expect(node.refused).toBeGreaterThan(10));
    node.submitError = undefined;
    const { code, stderr } = await loading;
    expect(code).toBe(0);
    expect(stderr.match(/Retrying/g)).toHaveLength(1);
    expect(node.submitted).toHaveLength(10);
  });

  test("does not resend lines without an id if they may have been stored", async () => {
    await using served = await serve();
    served.node.submitError = new CairnError("LOG_UNREACHABLE", "The log is gone.");
    const { code, stderr } = await load(served, '{"ops":[["delete","pods","x"]]}\n');
    expect(code).toBe(3);
    expect(stderr).toMatch(/^LOG_UNREACHABLE: Line 1: The log is gone\.\n.*Continue with --from-line 1/);
    expect(served.node.refused).toBe(1);
  });

  test("resends lines after a broken connection only if each has an id", async () => {
    await using served = await serve();
    let connections = 0;
    // Breaks the connection once the first request is in progress, and then passes everything on to the node.
    const proxy = createServer((client) => {
      connections += 1;
      if (connections % 2 === 1) {
        client.once("data", () => client.destroy());
        return;
      }
      const node = connect(served.server.port, "127.0.0.1");
      for (const socket of [client, node]) socket.on("error", () => undefined);
      client.pipe(node).pipe(client);
    }).listen(0, "127.0.0.1");
    await once(proxy, "listening");
    const url = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
    try {
      const again = await cairn(["load", "-", "--url", url], new CapturedTerminal({ stdin: lines(10) }));
      expect([again.code, connections, served.node.submitted.length]).toEqual([0, 2, 10]);
      const stdin = '{"ops":[["delete","pods","x"]]}\n';
      const single = await cairn(["load", "-", "--url", url], new CapturedTerminal({ stdin }));
      expect([single.code, connections]).toEqual([3, 3]);
      expect(single.stderr).toContain("Some of the lines 1 to 1 may be stored");
    } finally {
      proxy.close();
    }
  });

  test("resends lines that did not arrive in time, and does not mistake the first of them for an invalid one", async () => {
    await using served = await serve({ requestTimeoutMs: 300 });
    const stdin = lines(10);
    let connections = 0;
    // Withholds the end of the first request.
    const proxy = createServer((client) => {
      const isFirst = connections++ === 0;
      const node = connect(served.server.port, "127.0.0.1");
      for (const socket of [client, node]) socket.on("error", () => undefined);
      node.pipe(client);
      client.on("data", (bytes: Buffer) => {
        const end = isFirst ? bytes.indexOf(line(9)) : -1;
        node.write(end < 0 ? bytes : bytes.subarray(0, end));
      });
    }).listen(0, "127.0.0.1");
    await once(proxy, "listening");
    const client = new NodeClient(`http://127.0.0.1:${(proxy.address() as AddressInfo).port}`, undefined);
    const retried: string[] = [];
    const refused: number[] = [];
    try {
      const { transactions } = await sendChunks(
        client,
        ndjsonChunks(readLines(Readable.from([Buffer.from(stdin)])), { size: 65_536, fromLine: 1 }),
        {
          fromLine: 1,
          signal: new AbortController().signal,
          onProgress: () => undefined,
          onRetry: ({ message }) => void retried.push(message),
          onRefused: (number) => Promise.resolve(void refused.push(number)),
        },
      );
      expect([transactions, refused]).toEqual([10, []]);
      expect(retried).toEqual(["Line 10: The rest of the batch did not arrive in time."]);
      expect(served.node.submitted).toHaveLength(19);
    } finally {
      client.close();
      proxy.close();
    }
  });

  test("reports where to continue when it is interrupted", async () => {
    await using served = await serve();
    const source = new Readable({ read: () => undefined });
    const terminal = new CapturedTerminal({ env: { CAIRN_URL: served.url } });
    Object.defineProperty(terminal, "stdin", { value: source });
    const loading = cairn(["load", "-"], terminal);
    source.push(lines(12_000, "x".repeat(100)));
    await vi.waitFor(() => expect(served.node.submitted.length).toBeGreaterThan(5000));
    terminal.signal("SIGINT");
    source.push(lines(12_000, "x".repeat(100)));
    const { code, stderr } = await loading;
    expect(code).toBe(130);
    expect(stderr).toMatch(/^INTERRUPTED: /m);
    const stored = served.node.submitted.length;
    expect(stored).toBeLessThan(24_000);
    expect(stderr).toContain(`--from-line ${stored + 1}`);
  });

  test.each([
    [["load", "-"], /--from-line \d+\.$/m],
    [
      ["import", "ndjson", "-"],
      /\d,\d{3} documents were written, and 0 equal already\.\n {2}hint: Run the command/,
    ],
  ])("%j ends at a signal although its input does not, and says how to continue", async (argv, expected) => {
    await using served = await serve();
    const source = new Readable({ read: () => undefined });
    const terminal = new CapturedTerminal({ env: { CAIRN_URL: served.url } });
    Object.defineProperty(terminal, "stdin", { value: source });
    const running = cairn(argv, terminal);
    source.push(lines(12_000, "x".repeat(100)));
    await vi.waitFor(() => expect(served.node.submitted.length).toBeGreaterThan(5000));
    terminal.signal("SIGTERM");
    const { code, stderr } = await running;
    expect([code, stderr]).toEqual([143, expect.stringMatching(expected)]);
  });
});

async function collect(text: string, cuts: number[], size: number, fromLine: number): Promise<NdjsonChunk[]> {
  const bytes = Buffer.from(text);
  const bounds = [...new Set([0, ...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length])].toSorted(
    (a, b) => a - b,
  );
  const pieces = bounds.slice(1).map((end, i) => bytes.subarray(bounds[i], end));
  const chunks: NdjsonChunk[] = [];
  const read = readLines(Readable.from(pieces));
  for await (const chunk of ndjsonChunks(read, { size, fromLine })) chunks.push(chunk);
  return chunks;
}

describe("the chunks of a stream", () => {
  test("are its whole lines in order, starting with the requested one, wherever the pieces are split", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.stringMatching(/^[a-zé\r]{0,6}$/), { maxLength: 30 }),
        fc.boolean(),
        fc.array(fc.nat(200), { maxLength: 12 }),
        fc.integer({ min: 1, max: 40 }),
        fc.integer({ min: 1, max: 8 }),
        async (texts, ended, cuts, size, fromLine) => {
          const all = texts.join("\n") + (ended && texts.length > 0 ? "\n" : "");
          const numbered = all
            .split("\n")
            .map((text, at) => [at + 1, text.replace(/\r$/, "")] as const)
            .filter(([, text]) => text !== "");
          if (fromLine > (numbered.at(-1)?.[0] ?? 0) + 1) {
            await expect(collect(all, cuts, size, fromLine)).rejects.toThrow("no transaction in line");
            return;
          }
          const found: (readonly [number, string])[] = [];
          for (const chunk of await collect(all, cuts, size, fromLine)) {
            const [first, last] = [chunk[0]?.number ?? 0, chunk.at(-1)?.number ?? 0];
            const split = chunkBytes(chunk).toString().split("\n");
            expect([split.at(-1), split.length]).toEqual(["", last - first + 2]);
            found.push(...split.map((text, at) => [first + at, text] as const));
          }
          expect(found.filter(([, text]) => text !== "")).toEqual(
            numbered.filter(([number]) => number >= fromLine),
          );
        },
      ),
      { numRuns: 300 },
    );
  });

  test("end with an error at an endless line", async () => {
    const endless = Readable.from(
      (function* () {
        for (;;) yield Buffer.alloc(4 * 1024 * 1024, "x");
      })(),
    );
    const reading = (async () => {
      for await (const chunk of ndjsonChunks(readLines(endless), { size: 1024, fromLine: 1 }))
        expect(chunk).toBeUndefined();
    })();
    await expect(reading).rejects.toMatchObject({ code: "TX_TOO_LARGE" });
  });
});
