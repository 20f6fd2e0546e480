// The changes since the last release: one Markdown file for each in changelog/unreleased, which a release joins into
// CHANGELOG.md. Separate files keep concurrent changes from conflicting in one list.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** Returns the fragments of a folder, in the order of their names. */
export function readFragments(folder) {
  if (!existsSync(folder)) return [];
  const names = readdirSync(folder).filter((name) => name.endsWith(".md"));
  return names.toSorted().map((name) => {
    const file = join(folder, name);
    return { file, text: readFileSync(file, "utf8").trim() };
  });
}

/** Returns why a fragment cannot be an entry of the changelog. */
export function fragmentProblem({ file, text }) {
  const [first] = text.split("\n", 1);
  return /^[A-Z`*].*\.$/.test(first) ? undefined : `The first line of ${file} must be a sentence.`;
}

/**
 * Returns the changelog with the fragments at the end of the section of a version. The newest section is that section
 * if it is `unreleased`, and then gets the date; otherwise the section is begun.
 */
export function joinFragments(changelog, version, date, fragments) {
  const [title, ...sections] = changelog.split(/^(?=## )/m);
  const unreleased = `## ${version} (unreleased)\n`;
  const described = sections[0]?.startsWith(unreleased)
    ? sections.shift().slice(unreleased.length).trim()
    : "";
  const items = fragments.map(({ text }) => `- ${text.replaceAll(/\n(?=.)/g, "\n  ")}`).join("\n");
  const parts = [described, items].filter((part) => part !== "");
  if (parts.length === 0) return changelog;
  return [
    title,
    [`## ${version} (${date})`, ...parts].join("\n\n"),
    "\n",
    ...sections.map((old) => `\n${old}`),
  ].join("");
}
