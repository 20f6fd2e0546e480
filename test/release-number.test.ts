import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { expect, it } from "vitest";
import { type CommandResult, ROOT, runCairn } from "@cairn/test-support/cairn-process";

const { version } = JSON.parse(textOf("package.json")) as { version: string };

/** A release number of Cairn, as pages, configurations and examples of output write it. */
const WRITTEN = /(?:\bcairn:|@cairn\/\w+@|\bCairn |\bversion |"version": ?")(\d+\.\d+\.\d+)\b/gi;

/** Pages that name a version on purpose, which a new release does not change. */
const OF_ANY_VERSION = ["CHANGELOG.md", "bench/", "docs/comparison.md", "docs/performance.md"];

function textOf(file: string): string {
  return readFileSync(path.join(ROOT, file), "utf8");
}

/** Prints the version of Cairn on what passes for another version of Node. */
async function versionOn(node: string): Promise<CommandResult> {
  const versions = `Object.defineProperty(process, "versions", { value: { ...process.versions, node: "${node}" } })`;
  // Node 18 has no Array.prototype.toSorted.
  const older = `${versions}; if (${Number.parseInt(node)} < 20) delete Array.prototype.toSorted;`;
  const env = { NODE_OPTIONS: `--import "data:text/javascript,${encodeURIComponent(older)}"` };
  return await runCairn(["version"], { env });
}

it("the packages and the command have the version of the repository", async () => {
  for (const name of readdirSync(path.join(ROOT, "packages"))) {
    const manifest = JSON.parse(textOf(`packages/${name}/package.json`)) as { private?: boolean };
    if (manifest.private !== true) expect(manifest).toMatchObject({ version });
  }
  expect((await runCairn(["version"])).stdout).toBe(`${version}\n`);
});

it("the command says which Node it needs, before it loads what an older one lacks", async () => {
  const { engines } = JSON.parse(textOf("packages/cli/package.json")) as { engines: { node: string } };
  const needed = engines.node.replace(">=", "");
  for (const older of ["18.20.8", "20.18.3"]) {
    const { code, stderr } = await versionOn(older);
    expect([code, stderr]).toEqual([
      3,
      expect.stringContaining(`Cairn needs Node ${needed} or later, and this is Node ${older} (`),
    ]);
  }
  for (const fine of [`${needed}.0`, "22.0.0"]) expect(await versionOn(fine)).toMatchObject({ code: 0 });
});

it("every page and configuration names this version", () => {
  const listed = execFileSync("git", ["ls-files", "*.md", "deploy"], { cwd: ROOT, encoding: "utf8" });
  const files = listed
    .trim()
    .split("\n")
    .filter((file) => !OF_ANY_VERSION.some((of) => file.startsWith(of)));
  const others = files.flatMap((file) =>
    [...textOf(file).matchAll(WRITTEN)]
      .filter(([, found]) => found !== version)
      .map(([text]) => `${file}: ${text}`),
  );
  expect(others).toEqual([]);
});
