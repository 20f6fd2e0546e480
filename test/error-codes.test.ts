import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { CLIENT_CODES } from "@cairn/client/protocol";
import { ERROR_CODES } from "@cairn/kv";
import { describe, expect, it } from "vitest";

const ROOT = fileURLToPath(new URL("../", import.meta.url));

/** Returns the texts of all source files whose paths match `pattern`. */
async function sources(pattern: RegExp): Promise<string[]> {
  const { stdout } = await promisify(execFile)("git", ["ls-files", "*.ts"], { cwd: ROOT });
  const files = stdout.split("\n").filter((file) => pattern.test(file));
  return await Promise.all(files.map((file) => readFile(path.join(ROOT, file), "utf8")));
}

describe("error codes", () => {
  it("each have exactly one heading in docs/errors.md, which has no other headings", async () => {
    const text = await readFile(path.join(ROOT, "docs/errors.md"), "utf8");
    const headings = Array.from(text.matchAll(/^## (\w+)$/gm), ([, code]) => code);
    expect(headings.toSorted()).toEqual([...ERROR_CODES].toSorted());
  });

  it("of clients each have exactly one heading in its section for clients, and are raised by them", async () => {
    const text = await readFile(path.join(ROOT, "docs/errors.md"), "utf8");
    const section = text.split(/^## /m).find((one) => one.startsWith("In clients only")) ?? "";
    const headings = Array.from(section.matchAll(/^### (\w+)$/gm), ([, code]) => code);
    expect(headings.toSorted()).toEqual([...CLIENT_CODES].toSorted());
    const all = (await sources(/^packages\/client\/src\//)).join("\n");
    const raised = Array.from(all.matchAll(/new CairnClientError\(\s*"(\w+)"/g), ([, code = ""]) => code);
    const known: readonly string[] = [...CLIENT_CODES, ...ERROR_CODES];
    expect(raised.filter((code) => !known.includes(code))).toEqual([]);
    expect(CLIENT_CODES.filter((code) => !raised.includes(code))).toEqual([]);
  });

  it("each have a remedy in docs/errors.md", async () => {
    const text = await readFile(path.join(ROOT, "docs/errors.md"), "utf8");
    const sections = text.split(/^#{2,3} (?=[A-Z_]+$)/m).slice(1);
    expect(sections.length).toBeGreaterThan(ERROR_CODES.length);
    const without = sections.filter((section) => !/\*cure\*:/i.test(section));
    expect(without.map((section) => section.split("\n")[0])).toEqual([]);
  });

  it("are all raised by the code", async () => {
    const all = await sources(/^packages\/[\w-]+\/src\//);
    const raised = (code: string) =>
      all.some((text) => text.includes(`"${code}"`) && !text.includes("export const ERROR_CODES"));
    expect(ERROR_CODES.filter((code) => !raised(code))).toEqual([]);
  });

  it("are all mentioned in tests", async () => {
    const all = await sources(/^(?:packages\/[\w-]+\/test(?:ing)?|test)\//);
    const isTested = (code: string) => all.some((text) => text.includes(code));
    expect(ERROR_CODES.filter((code) => !isTested(code))).toEqual([]);
  });
});
