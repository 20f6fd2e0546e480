import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { cairn, CapturedTerminal } from "@cairn/test-support/nodes/captured-terminal";
import { serve } from "@cairn/test-support/nodes/served-node";

test("an import of a file shows how much of it was imported, in percent; one of a pipe cannot", async () => {
  const dir = await mkdtemp(join(tmpdir(), "cairn-import-"));
  onTestFinished(() => rm(dir, { recursive: true }));
  const lines = Array.from({ length: 500 }, (_, n) => `{"ops":[["put","pods","p${n}",${n}]]}\n`).join("");
  const file = join(dir, "pods.ndjson");
  await writeFile(file, lines);
  const shown: string[] = [];
  for (const source of [file, "-"]) {
    await using served = await serve();
    const terminal = new CapturedTerminal({ env: { CAIRN_URL: served.url }, isTTY: true, stdin: lines });
    const { code, stdout, stderr } = await cairn(["import", "ndjson", source], terminal);
    expect([code, stdout]).toEqual([0, expect.stringContaining("500 written")]);
    shown.push(stderr);
  }
  expect(shown).toEqual([expect.stringMatching(/importing .* \(100 %\) .* 500 re/s), ""]);
});

test("an import whose node goes away says that it can be run again", async () => {
  const server = createServer(({ url }, response) => {
    if (url === "/api/v1/buckets") response.setHeader("x-request-id", "1").end("[]");
    else response.destroy();
  }).listen(0, "127.0.0.1");
  onTestFinished(() => void server.close());
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const env = { CAIRN_URL: `http://127.0.0.1:${port}` };
  const stdin = '{"ops":[["put","pods","a",1]]}\n';
  expect(
    await cairn(["import", "ndjson", "-"], new CapturedTerminal({ env, isTTY: false, stdin })),
  ).toMatchObject({
    code: 3,
    stderr: expect.stringMatching(/^NOT_READY: .*\n +hint: Run the command again: documents that are equal/),
  });
});
