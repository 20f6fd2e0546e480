import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type Socket } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { faultyStore, memoryStore } from "@cairn/checkpoint/testing";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { awaitedStore } from "../src/places/awaited-store.ts";
import { cairn, CapturedTerminal } from "@cairn/test-support/nodes/captured-terminal";

/**
 * Starts a service that accepts connections and never responds. `asked` resolves with the first request; `end` closes
 * the connections, after which no more are accepted.
 */
async function silentService(): Promise<{ endpoint: string; asked: Promise<unknown>; end: () => void }> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    socket.on("error", () => undefined);
    sockets.add(socket);
  });
  const asked = once(server, "connection").then(async ([socket]) => await once(socket as Socket, "data"));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const end = (): void => {
    server.close();
    for (const socket of sockets) socket.destroy();
  };
  return { endpoint: `http://127.0.0.1:${port}`, asked, end };
}

const BUCKET = "s3://backup/p";

/** Returns a configuration with an embedded log and the store in the bucket. */
function configuration(endpoint: string): string {
  const store = {
    "cairn/module": "cairn.s3/->checkpoint-store",
    bucket: "backup",
    prefix: "p",
    endpoint,
    credentials: { "access-key-id": "k", "secret-access-key": "s" },
  };
  const checkpointer = {
    "cairn/module": "cairn.checkpoint/->checkpointer",
    store,
    "approx-frequency": "PT6H",
  };
  return JSON.stringify({
    "cairn/index-store": { "kv-store": { "cairn/module": "cairn.leveldb/->kv-store", checkpointer } },
  });
}

describe("a command whose bucket does not respond", () => {
  it.each<{ args: string[]; configured?: true; signal?: true }>([
    { args: ["checkpoint", "list", BUCKET] },
    { args: ["checkpoint", "verify", BUCKET] },
    { args: ["checkpoint", "restore", BUCKET, "-o", "restored"] },
    { args: ["checkpoint", "prune", BUCKET, "--dry-run", "--retain-at-least", "1"] },
    { args: ["checkpoint", "diff", BUCKET, "s3://backup/q"], signal: true },
    { args: ["db", "check", BUCKET], signal: true },
    { args: ["checkpoint", "verify"], configured: true },
    { args: ["checkpoint", "prune", "--retain-at-least", "1"], configured: true },
    { args: ["log", "trim"], configured: true },
    { args: ["checkpoint", "create", "--rebuild"], configured: true, signal: true },
  ])(
    "reports once on standard error what it is waiting for: $args.0 $args.1 $args.2",
    async ({ args, configured, signal }) => {
      const dir = await mkdtemp(path.join(tmpdir(), "cairn-awaited-"));
      onTestFinished(() => rm(dir, { recursive: true, force: true }));
      const { endpoint, asked, end } = await silentService();
      onTestFinished(end);
      const env = {
        AWS_REGION: "r",
        AWS_ENDPOINT_URL: endpoint,
        AWS_ACCESS_KEY_ID: "k",
        AWS_SECRET_ACCESS_KEY: "s",
        CAIRN_DIR: path.join(dir, "data"),
      };
      const options = configured === true ? ["-j", configuration(endpoint)] : [];
      if (configured === true) {
        const begun = await cairn(
          ["log", "create", "--empty", ...options],
          new CapturedTerminal({ cwd: dir, env }),
        );
        expect(begun.code).toBe(0);
      }
      const terminal = new CapturedTerminal({ cwd: dir, env });
      vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
      onTestFinished(() => void vi.useRealTimers());
      const ended = cairn([...args, ...options], terminal);
      await asked;
      await vi.advanceTimersByTimeAsync(4_999);
      expect(terminal.stderr.text).not.toContain("Still waiting");
      await vi.advanceTimersByTimeAsync(1);
      vi.useRealTimers();
      const notice = `Still waiting for s3://backup/p at ${endpoint}: listing its files has taken 5.0 s so far. Press Ctrl-C to stop waiting.\n`;
      expect(terminal.stderr.text).toContain(notice);
      // Some commands handle the signal. It would end the others together with this process, so the service closes
      // their connections instead.
      if (signal === true) terminal.signal("SIGINT");
      else end();
      const { code, stdout, stderr } = await ended;
      expect([code, stdout]).toEqual([signal === true ? 130 : 3, ""]);
      expect(stderr.split("Still waiting")).toHaveLength(2);
    },
  );
});

function inAMinute(): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, 60_000));
}

it("a store that responds in time is not reported", async () => {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  const terminal = new CapturedTerminal();
  const store = awaitedStore(memoryStore(), terminal);
  expect(await store.list("")).toEqual([]);
  await expect(store.open("checkpoint-1")).rejects.toMatchObject({ code: "NOT_FOUND" });
  await vi.advanceTimersByTimeAsync(60_000);
  expect(terminal.stderr.text).toBe("");
});

it("if several responses are slow, only the first is reported", async () => {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  const terminal = new CapturedTerminal();
  const store = awaitedStore(faultyStore(memoryStore(), { before: inAMinute }), terminal);
  const both = Promise.all([store.read("in-progress.json"), store.now()]);
  await vi.advanceTimersByTimeAsync(4_999);
  expect(terminal.stderr.text).toBe("");
  await vi.advanceTimersByTimeAsync(60_000);
  await both;
  const third = store.list("");
  await vi.advanceTimersByTimeAsync(60_000);
  expect(await third).toEqual([]);
  expect(terminal.stderr.text).toBe(
    `Still waiting for ${store.location}: reading in-progress.json has taken 5.0 s so far. Press Ctrl-C to stop waiting.\n`,
  );
});
