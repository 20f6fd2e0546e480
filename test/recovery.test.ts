// @module-tag rest/slow
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { testS3, type TestS3 } from "@cairn/localstack";
import { afterEach, beforeEach, describe, expect, it, onTestFailed, onTestFinished } from "vitest";
import { CAIRN, ROOT } from "@cairn/test-support/cairn-process";
import { freePorts, movePorts } from "@cairn/test-support/moved-ports";
import { fencedBlocks } from "@cairn/test-support/readme-blocks";

describe("docs/recovery.md", () => {
  let folder = "";
  let s3: TestS3;
  beforeEach(async () => {
    folder = await mkdtemp(path.join(tmpdir(), "cairn-disaster-"));
    s3 = await testS3();
  });
  afterEach(async () => {
    await s3?.close();
    await rm(folder, { recursive: true, force: true });
  });

  it("recovers the log from its backup, and to a point before an eviction, command by command", async () => {
    const blocks = await fencedBlocks(path.join(ROOT, "docs/recovery.md"));
    const config = blocks.find(({ language }) => language === "json")?.text ?? "";
    await writeFile(path.join(folder, "cluster.json"), config.replace('"backups"', `"${s3.bucket}"`));
    const bin = path.join(folder, "bin");
    await mkdir(bin);
    await writeFile(path.join(bin, "cairn"), `#!/bin/sh\nexec "${process.execPath}" "${CAIRN}" "$@"\n`);
    await chmod(path.join(bin, "cairn"), 0o755);
    const steps = blocks.filter(({ language }) => language === "bash").map(({ text }) => text);
    const script = movePorts(
      steps.map((text, at) => `echo "== ${at}"\n${text}`).join("\n"),
      await freePorts("4222", "3001", "3002", "3003"),
    );
    // No process is left running, whatever happens.
    const all = `set -m; trap 'jobs -p | xargs -rI{} kill -9 -- -{}' EXIT\n${script}\necho "== end"\n`;
    const { accessKeyId, secretAccessKey } = s3.credentials;
    const shell = spawn("bash", ["-e", "-c", all], {
      cwd: folder,
      env: {
        ...process.env,
        PATH: `${bin}:${process.env["PATH"]}:/usr/sbin`,
        AWS_ACCESS_KEY_ID: accessKeyId,
        AWS_SECRET_ACCESS_KEY: secretAccessKey,
        AWS_REGION: s3.region,
        AWS_ENDPOINT_URL_S3: s3.endpoint,
      },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    onTestFailed(() => console.error(output));
    onTestFinished(async () => {
      // A test whose time is up leaves its shell, which ends what it started.
      if (shell.exitCode === null && shell.kill()) await once(shell, "close");
    });
    for (const stream of [shell.stdout, shell.stderr])
      stream.on("data", (chunk: Buffer) => (output += chunk.toString()));
    const [code] = (await once(shell, "close")) as [number | null];
    expect(output).toContain("== end");
    expect(code).toBe(0);
    expect(output).toMatch(/began the log cairn .* which continues after transaction 61 of/);
    expect(output).toMatch(/began the log cairn .* which continues after transaction 63 of/);
    // The document is printed first from the restored index, and then from all three nodes.
    expect(output).toMatch(/^ {2}"items": 7$/m);
    expect(output.match(/^\{"items":7\}$/gm)).toHaveLength(3);
    for (const items of [60, 62]) expect(output).toContain(`{"items":${items}}\n`);
    expect(output.match(/^The same digest at transaction \d+ on 3 nodes/gm)).toHaveLength(2);
  });
});
