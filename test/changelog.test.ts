import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

interface Fragment {
  file: string;
  text: string;
}

const { fragmentProblem, joinFragments, readFragments } = (await import(
  new URL("../scripts/changelog.mjs", import.meta.url).href
)) as {
  fragmentProblem: (fragment: Fragment) => string | undefined;
  joinFragments: (changelog: string, version: string, date: string, fragments: Fragment[]) => string;
  readFragments: (folder: string) => Fragment[];
};

const CHANGELOG = "# Changelog\n\n## 0.1.0 (unreleased)\n\nThe first version.\n\n- **Log**: one.\n";
const FRAGMENTS = [
  { file: "a.md", text: "Lists can be reversed.\n\nOver HTTP, with `reverse=true`." },
  { file: "b.md", text: "`cairn list` is faster." },
];
const ITEMS = "- Lists can be reversed.\n\n  Over HTTP, with `reverse=true`.\n- `cairn list` is faster.\n";

describe("the changelog", () => {
  let dir: string;

  beforeEach(async () => {
    dir = await mkdtemp(path.join(tmpdir(), "cairn-changelog-"));
  });

  afterEach(async () => {
    await rm(dir, { recursive: true, force: true });
  });

  it("gets the changes of a release at the end of its section, which gets the date", () => {
    expect(joinFragments(CHANGELOG, "0.1.0", "2027-01-02", FRAGMENTS)).toBe(
      `# Changelog\n\n## 0.1.0 (2027-01-02)\n\nThe first version.\n\n- **Log**: one.\n\n${ITEMS}`,
    );
  });

  it("gets a section for a version that it does not describe yet, above the older ones", () => {
    const released = CHANGELOG.replace("unreleased", "2027-01-02");
    expect(joinFragments(released, "0.2.0", "2027-03-04", FRAGMENTS)).toBe(
      released.replace("## 0.1.0", `## 0.2.0 (2027-03-04)\n\n${ITEMS}\n## 0.1.0`),
    );
  });

  it("is unchanged if a released version has no changes", () => {
    const released = CHANGELOG.replace("unreleased", "2027-01-02");
    expect(joinFragments(released, "0.2.0", "2027-03-04", [])).toBe(released);
  });

  it("reads the changes in the order of their names, and none from a folder that does not exist", async () => {
    const folder = path.join(dir, "unreleased");
    expect(readFragments(folder)).toEqual([]);
    await mkdir(folder);
    await writeFile(path.join(folder, "b.md"), "Second.\n");
    await writeFile(path.join(folder, "a.md"), "First.\n");
    await writeFile(path.join(folder, "notes.txt"), "Nothing.\n");
    expect(readFragments(folder).map(({ text }) => text)).toEqual(["First.", "Second."]);
  });

  it.each(["## A heading", "- An item.", "no sentence", ""])(
    "refuses a change that begins with %j",
    (text) => {
      expect(fragmentProblem({ file: "a.md", text })).toBe("The first line of a.md must be a sentence.");
    },
  );
});
