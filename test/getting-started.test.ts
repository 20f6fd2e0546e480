// @module-tag rest/slow
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { freePort } from "@cairn/log-nats/testing";
import { afterEach, beforeEach, describe, expect, it, onTestFailed, onTestFinished } from "vitest";
import { ROOT } from "@cairn/test-support/cairn-process";
import { freePorts, movePorts } from "@cairn/test-support/moved-ports";
import { fencedBlocks } from "@cairn/test-support/readme-blocks";

describe("docs/getting-started.md", () => {
  let folder = "";
  beforeEach(async () => {
    folder = await mkdtemp(path.join(tmpdir(), "cairn-start-"));
  });
  afterEach(async () => await rm(folder, { recursive: true, force: true }));

  it("leads from an empty folder to two nodes with a checkpoint and a join, command by command", async () => {
    const blocks = await fencedBlocks(path.join(ROOT, "docs/getting-started.md"));
    const steps = blocks.filter(({ language }) => language === "bash" || language === "json");
    const script = steps.map(({ language, text }) =>
      language === "json" ? `cat > cluster.json <<'END'\n${text}END\n` : text,
    );
    const moved = movePorts(script.join("\n"), await freePorts("4222", "3001", "3002"));
    const alone = String(await freePort());
    // Aliases and job control as in an interactive shell. No process is left running, whatever happens.
    const all = `shopt -s expand_aliases; set -m; trap 'jobs -p | xargs -rI{} kill -9 -- -{}' EXIT
${moved.replaceAll("localhost:3000", `localhost:${alone}`)}
wait; trap - EXIT; echo "== end"
`;
    const temporary = path.join(folder, "tmp");
    await mkdir(temporary);
    const file = path.join(folder, "page.sh");
    await writeFile(file, all);
    const shell = spawn("bash", ["-e", "-o", "pipefail", file], {
      cwd: ROOT,
      env: {
        ...process.env,
        PATH: `${process.env["PATH"]}:/usr/sbin`,
        TMPDIR: temporary,
        CAIRN_HTTP_PORT: alone,
        CAIRN_URL: `http://127.0.0.1:${alone}`,
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
    // The output contains each line that the page shows, except for what differs in each run.
    for (const line of shownLines(blocks)) expect(output).toMatch(line);
    const joined = [...output.matchAll(/^Joined +(.*)$/gm)].map(([, how = ""]) => how);
    expect(joined).toEqual([
      "without a checkpoint, 1 transaction replayed",
      // The node may have saved a checkpoint by itself, as the page says.
      expect.stringMatching(/^(?:without a checkpoint, 4 transactions replayed|from checkpoint-\d-.*)$/),
      expect.stringMatching(/^from checkpoint-4-.*, 1 transaction replayed$/),
      "without a checkpoint, 1 transaction replayed",
      expect.stringMatching(/^from checkpoint-4-.*, 1 transaction replayed$/),
    ]);
    // The history, and the version as of transaction 2.
    expect(output).toMatch(/^ +2 .*nginx:1\.28.*\n\{\n {2}"image": "nginx:1\.28"\n\}$/m);
    expect(output).toMatch(/^\{\n {2}"image": "postgres:18\.1"\n\}$/m);
  });
});

/** Returns a pattern for each line of output that the page shows. */
function shownLines(blocks: readonly { language: string; text: string }[]): RegExp[] {
  const lines = blocks
    .filter(({ language }) => language === "")
    .flatMap(({ text }) => text.trim().split("\n"))
    .filter((line) => !line.startsWith("Joined"));
  expect(lines.length).toBeGreaterThan(0);
  return lines.map((line) => {
    const literal = line.replaceAll(/[\\^$.*+?()[\]{}|]/g, String.raw`\$&`);
    const any = literal
      .replaceAll(/\d{4}-\d\d-\d\dT\S+?Z-[0-9a-f]{8}/g, String.raw`\S+`)
      .replaceAll(/file:\/\/\S+?,/g, String.raw`file://\S+,`)
      .replaceAll(/sha256:[0-9a-f]{64}/g, "sha256:[0-9a-f]{64}");
    return new RegExp(`^${any}$`, "m");
  });
}
