import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { cairn, CapturedTerminal } from "@cairn/test-support/nodes/captured-terminal";

it("cairn db check ends at a signal, even while a bucket does not respond", async () => {
  const staging = await mkdtemp(path.join(tmpdir(), "cairn-db-bucket-"));
  onTestFinished(() => rm(staging, { recursive: true, force: true }));
  let terminal: CapturedTerminal | undefined;
  const silent = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.once("data", () => terminal?.signal("SIGTERM"));
  });
  await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void silent.close());
  const { port } = silent.address() as AddressInfo;
  const keys = { AWS_REGION: "r", AWS_ACCESS_KEY_ID: "k", AWS_SECRET_ACCESS_KEY: "s" };
  terminal = new CapturedTerminal({ env: { AWS_ENDPOINT_URL: `http://127.0.0.1:${port}`, ...keys } });
  // A request without a response is retried for minutes.
  const ended = await cairn(["db", "check", "s3://b/p", "--staging", staging], terminal);
  expect(ended.stderr).toContain("Interrupted");
  expect(await readdir(staging)).toEqual([]);
}, 20_000);
