import { readdir, readFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { ERROR_CODES } from "@cairn/kv";
import { describe, expect, it } from "vitest";

const ROOT = fileURLToPath(new URL("../", import.meta.url));

async function sources(folder: string): Promise<string[]> {
  const names = await readdir(path.join(ROOT, folder), { recursive: true });
  const files = names.filter((name) => name.endsWith(".ts"));
  return await Promise.all(files.map((name) => readFile(path.join(ROOT, folder, name), "utf8")));
}

describe("error codes", () => {
  it("each have exactly one heading in docs/errors.md, which has no other headings", async () => {
    const text = await readFile(path.join(ROOT, "docs/errors.md"), "utf8");
    const headings = Array.from(text.matchAll(/^## (\w+)$/gm), ([, code]) => code);
    expect(headings.toSorted()).toEqual([...ERROR_CODES].toSorted());
  });

  it("each have a remedy in docs/errors.md", async () => {
    const text = await readFile(path.join(ROOT, "docs/errors.md"), "utf8");
    const sections = text.split(/^#{2,3} (?=[A-Z_]+$)/m).slice(1);
    expect(sections.length).toBeGreaterThan(ERROR_CODES.length);
    const without = sections.filter((section) => !/\*cure\*:/i.test(section));
    expect(without.map((section) => section.split("\n")[0])).toEqual([]);
  });

  it("are all raised by the code", async () => {
    const all = await Promise.all(
      ["packages/kv/src", "packages/checkpoint/src", "packages/node/src"].map(sources),
    );
    const raised = (code: string) =>
      all.flat().some((text) => text.includes(`"${code}"`) && !text.includes("export const ERROR_CODES"));
    expect(ERROR_CODES.filter((code) => !raised(code))).toEqual([]);
  });

  it("are all mentioned in tests", async () => {
    const folders = [
      "packages/kv/test",
      "packages/kv/testing",
      "packages/checkpoint/test",
      "packages/checkpoint/testing",
    ];
    const all = await Promise.all(
      [...folders, "packages/node/test", "packages/node/testing", "test"].map(sources),
    );
    const isTested = (code: string) => all.flat().some((text) => text.includes(code));
    expect(ERROR_CODES.filter((code) => !isTested(code))).toEqual([]);
  });
});
