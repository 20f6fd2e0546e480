import { spawnSync } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { ROOT } from "@cairn/test-support/cairn-process";

it("the documented upgrades with systemd run the new version each time, and keep the previous one", async () => {
  const folder = await mkdtemp(path.join(tmpdir(), "cairn-upgrades-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  const page = await readFile(path.join(ROOT, "docs/upgrading.md"), "utf8");
  const row = page.split("\n").find((line) => line.startsWith("| systemd |")) ?? "";
  const documented = [...row.matchAll(/`([^`]+)`/g)].map(([, command = ""]) => command);
  const steps = documented
    .filter((command) => /^(?:rm|mv) /.test(command))
    .map((command) => command.replaceAll("/opt", folder));
  const install = async (name: string, version: string): Promise<void> => {
    await mkdir(path.join(folder, name));
    await writeFile(path.join(folder, name, "version"), version);
  };
  const installed = async (name: string): Promise<string> =>
    await readFile(path.join(folder, name, "version"), "utf8");
  await install("cairn", "1");
  for (const version of [2, 3, 4]) {
    await install("cairn-new", `${version}`);
    for (const step of steps) expect([step, spawnSync("sh", ["-c", step]).status]).toEqual([step, 0]);
    expect([await installed("cairn"), await installed("cairn-old")]).toEqual([
      `${version}`,
      `${version - 1}`,
    ]);
  }
});
