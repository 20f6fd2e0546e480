import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { s3Store } from "@cairn/checkpoint-s3";
import { CairnError } from "@cairn/kv";
import { pino } from "pino";
import { expect, it, vi } from "vitest";
import { reactionTo, describeReaction } from "@cairn/engine/src/node/failure-policy";
import { logFailure } from "@cairn/engine/src/observe/failures";
import { observedScene } from "@cairn/test-support/nodes/observed-node";

type Line = Record<string, unknown>;

function logInto(lines: Line[]) {
  const write = (line: string): unknown => lines.push(JSON.parse(line) as Line);
  return pino({ level: "debug", base: null }, { write });
}

/** Returns an address that refuses every connection. */
async function deadEndpoint(): Promise<string> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return `http://127.0.0.1:${port}`;
}

it("a node logs each failed attempt to reach the store as one line, with the stack at debug", async () => {
  const scene = await observedScene();
  const lines: Line[] = [];
  const endpoint = await deadEndpoint();
  const store = s3Store({
    bucket: "backup",
    endpoint,
    credentials: { accessKeyId: "k", secretAccessKey: "s" },
    maxAttempts: 1,
  });
  const node = await scene.start("a", { checkpointing: { store }, logger: logInto(lines) });
  node.ready.catch(() => undefined);
  await vi.waitFor(() =>
    expect(lines.filter(({ level, code }) => level === 40 && code === "STORE_UNREACHABLE")).toHaveLength(2),
  );
  const [first, second] = lines.filter(({ level }) => level === 40);
  const place = `s3://backup at ${endpoint}`;
  expect(first).toEqual({
    level: 40,
    time: expect.any(Number),
    code: "STORE_UNREACHABLE",
    hint: expect.any(String),
    msg: expect.stringMatching(/\. The node tries again in 0\.4 s\.$/),
  });
  expect(first?.["msg"]).toContain(place);
  expect(second?.["msg"]).toMatch(/ The node tries again in 0\.8 s\.$/);
  const shown = lines.filter(({ level }) => Number(level) >= 30);
  expect(JSON.stringify(shown)).not.toContain("stack");
  const beneath = lines.find(({ msg }) => msg === "caused by");
  expect(beneath).toMatchObject({ level: 20, code: "STORE_UNREACHABLE", err: { stack: expect.any(String) } });
});

it("a node logs an unexpected error with its stack", () => {
  const lines: Line[] = [];
  const cause = new Error("unheard of");
  logFailure(logInto(lines), "error", new CairnError("INTERNAL", "It met an error.", { cause }), "It halts.");
  expect(lines).toMatchObject([
    { code: "INTERNAL", err: { stack: cause.stack }, msg: "It met an error. It halts." },
  ]);
});

it.each([
  ["LOG_UNREACHABLE", "joining", 1, "The node tries again in 0.4 s."],
  ["STORE_DENIED", "joining", 20, "The node tries again in 15 s."],
  ["INDEX_CORRUPT", "following", 1, "The node joins again."],
  ["INDEX_CORRUPT", "joining", 2, "The node tries again in 0.8 s."],
  [
    "LOG_DIFFERENT",
    "joining",
    1,
    "The node stops serving, keeps checking the log, and joins once it is a different one.",
  ],
  ["LOG_GAP", "opening", 1, "The node halts."],
  ["LOG_GAP", "following", 1, "The node keeps searching for checkpoints, and joins once there is a new one."],
  ["CONFIG_INVALID", "joining", 1, "The node halts."],
  ["CONFIG_INVALID", "following", 1, "The node tries again in 0.4 s."],
  ["CONFIG_INVALID", "rejoining", 20, "The node tries again in 15 s."],
  ["LOG_REGRESSED", "following", 1, "The node joins again."],
] as const)(
  "a log line describes the node's reaction to %s while %s after %i failures",
  (code, during, failures, said) => {
    expect(describeReaction(reactionTo(new CairnError(code, "So."), during), failures)).toBe(said);
  },
);
