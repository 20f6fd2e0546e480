import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { expect, it } from "vitest";
import { ROOT, runCairn } from "@cairn/test-support/cairn-process";

const { version } = JSON.parse(textOf("package.json")) as { version: string };

/** A release number of Cairn, as pages, configurations and examples of output write it. */
const WRITTEN = /(?:\bcairn:|@cairn\/\w+@|\bCairn |\bversion |"version": ?")(\d+\.\d+\.\d+)\b/gi;

/** Pages that name a version on purpose, which a new release does not change. */
const OF_ANY_VERSION = ["CHANGELOG.md", "bench/", "docs/comparison.md", "docs/performance.md"];

function textOf(file: string): string {
  return readFileSync(path.join(ROOT, file), "utf8");
}

it("the packages and the command have the version of the repository", async () => {
  for (const name of readdirSync(path.join(ROOT, "packages"))) {
    const manifest = JSON.parse(textOf(`packages/${name}/package.json`)) as { private?: boolean };
    if (manifest.private !== true) expect(manifest).toMatchObject({ version });
  }
  expect((await runCairn(["version"])).stdout).toBe(`${version}\n`);
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
