import { spawnSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it, onTestFinished } from "vitest";

const MAIN = fileURLToPath(new URL("../../dist/bundle/main.js", import.meta.url));

it.each(["start", "config check"])(
  "%s says that a module may have ended the process, and does not end with 0",
  async (words) => {
    const folder = await mkdtemp(path.join(tmpdir(), "cairn-exiting-"));
    onTestFinished(() => rm(folder, { recursive: true, force: true }));
    await writeFile(path.join(folder, "log.mjs"), "process.exit(0);");
    const json = '{"cairn/tx-log": {"cairn/module": "./log.mjs#open"}}';
    await writeFile(path.join(folder, "cairn.json"), json);
    const { PATH } = process.env;
    const given = [MAIN, ...words.split(" ")];
    const { status, stderr } = spawnSync(process.execPath, given, {
      cwd: folder,
      env: { PATH },
      encoding: "utf8",
    });
    expect(stderr).toMatch(
      /^CONFIG_MODULE: The process ended while \.\/log\.mjs\S* was loaded .*\n {2}hint: If the module calls/m,
    );
    expect(status).toBe(2);
  },
);
