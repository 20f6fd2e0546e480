import { spawnSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it, onTestFinished } from "vitest";

const MAIN = fileURLToPath(new URL("../../dist/bundle/main.js", import.meta.url));

it.each(["start", "config check"])(
  "%s says that a module ended the process, and does not end with 0",
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
    expect(stderr).toMatch(/CONFIG_MODULE: \.\/log\.mjs\S* ended the process\.\n {2}hint: Remove the call/);
    expect(status).toBe(2);
  },
);
