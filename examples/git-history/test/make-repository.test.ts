import { describe, expect, it } from "vitest";
import { HistoryError, makeRepository } from "../src/index.ts";
import { git, gitText, temporaryDirectory } from "./support/temporary.ts";

async function headOf(seed: number): Promise<string> {
  return (await makeRepository({ directory: temporaryDirectory(), commits: 150, seed })).head;
}

describe("a generated repository", () => {
  it(
    "has the same commits if it is created from the same plan, and others if the seed differs",
    { tags: "rest/slow" },
    async () => {
      const head = await headOf(3);
      expect(await headOf(3)).toBe(head);
      expect(await headOf(4)).not.toBe(head);
    },
  );

  it(
    "has the requested number of first-parent commits, and passes git fsck",
    { tags: "rest/slow" },
    async () => {
      const { directory, branch } = await makeRepository({ directory: temporaryDirectory(), commits: 1000 });
      expect(gitText(directory, "rev-list", "--first-parent", "--count", branch)).toBe("1000");
      git(directory, "fsck", "--connectivity-only");
    },
  );

  it("has every case that a reader must handle", { tags: "rest/slow" }, async () => {
    const { directory } = await makeRepository({ directory: temporaryDirectory(), commits: 1500, seed: 2 });
    const log = git(directory, "log", "--first-parent", "-m", "--raw", "-M100%", "--format=%H %P", "HEAD");
    const text = log.toString("latin1");
    const cases: Record<string, RegExp> = {
      "an addition": /^:.* A\t/m,
      "a deletion": /^:.* D\t/m,
      "a change of type": /^:.* T\t/m,
      "a rename": /^:.* R100\t/m,
      "a link": / 120000 /,
      "a submodule": / 160000 /,
      "a change of the mode alone": /^:100644 100755 (\w+) \1 M/m,
      "an octopus": /^[0-9a-f]{40}( [0-9a-f]{40}){4,}$/m,
      "a commit without changes": /^[0-9a-f]{40} [0-9a-f]{40}\n[0-9a-f]{40}/m,
      "bytes that are not UTF-8": /\\377/,
      "a newline in a path": /\\n/,
      "a path above 1,024 bytes": /\t.{1100,}/,
    };
    // The test compares names, because a report with the whole script would be megabytes long.
    const missing = Object.keys(cases).filter((name) => cases[name]?.test(text) !== true);
    expect(missing).toEqual([]);
    const roots = gitText(directory, "rev-list", "--max-parents=0", "--count", "HEAD");
    expect(Number(roots), "merges of unrelated histories").toBeGreaterThan(1);
  });

  it("is not created in an impossible directory or with an invalid branch", async () => {
    const made = makeRepository({ directory: "/dev/null/x", commits: 1 });
    await expect(made).rejects.toThrow(/ENOTDIR|ENOENT/);
    const unnamable = makeRepository({ directory: temporaryDirectory(), commits: 2, branch: "a..b" });
    await expect(unnamable).rejects.toThrow(HistoryError);
  });
});
