// Checks that every relative link of the Markdown pages leads to a file, and to a heading if it names one; that every
// page of docs/ that a file names exists, as does every heading that a source names ("docs/http.md#lists", or
// `log-format.md, "The chains"`); that every source that CONTRIBUTING.md, the architecture's page or a package's README names exists; that docs/README.md lists
// every page of docs/; that a constant has the value that a page gives it; that the tests that the pages on testing and on
// XTDB's tests name are in the first tier; and that each change in changelog/unreleased begins with a sentence. Prints each problem, and
// exits with 1 if there are any.
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { fragmentProblem, readFragments } from "./changelog.mjs";
import { headingAnchor } from "./heading-anchor.mjs";

const ARCHITECTURE = "docs/internals/architecture.md";
const RULES = "docs/internals/rules.md";
/** The pages that name tests as evidence. */
const EVIDENCE = ["docs/internals/testing.md", "docs/internals/xtdb-tests.md"];

process.chdir(fileURLToPath(new URL("..", import.meta.url)));

const listed = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard"], {
  encoding: "utf8",
});
const files = listed.split("\n").filter((file) => file !== "" && existsSync(file));
const problems = [];

function readPage(file) {
  const prose = readFileSync(file, "utf8").replaceAll(/^\s*```.*?^\s*```\s*$/gms, "");
  const headings = [...prose.matchAll(/^#+ (.*)$/gm)].map(([, heading]) => heading);
  const seen = new Map();
  const anchors = headings.map((heading) => {
    const anchor = headingAnchor(heading);
    const count = seen.get(anchor) ?? 0;
    seen.set(anchor, count + 1);
    return count === 0 ? anchor : `${anchor}-${count}`;
  });
  return { prose, headings, anchors };
}

/** The names under which a page may mention a file: its path, without any of its first folders. */
function tails(file) {
  const parts = file.split("/");
  return parts.map((_, index) => parts.slice(index).join("/"));
}

const pages = new Map(files.filter((file) => file.endsWith(".md")).map((file) => [file, readPage(file)]));

for (const [file, { prose }] of pages) {
  for (const [, link] of prose.matchAll(/\]\(([^)\s]+)\)/g)) {
    if (/^[a-z]+:/.test(link)) continue;
    const [path, anchor] = link.split("#");
    const target = path === "" ? file : normalize(join(dirname(file), path));
    if (!existsSync(target)) problems.push(`${file} links to ${link}, which does not exist.`);
    else if (anchor !== undefined && pages.get(target)?.anchors.includes(anchor) === false)
      problems.push(`${file} links to ${link}, but ${target} has no such heading.`);
  }
}

const indexes = ["docs/README.md", "docs/internals/decisions/README.md"];
const indexed = indexes.flatMap((file) =>
  [...pages.get(file).prose.matchAll(/^\| \[[^\]]+\]\(([^)#]+)\) \|/gm)].map(([, link]) =>
    normalize(join(dirname(file), link)),
  ),
);
for (const file of pages.keys()) {
  if (file.startsWith("docs/") && file !== indexes[0] && !indexed.includes(file))
    problems.push(`No table of docs/README.md leads to ${file}, so the site does not contain it.`);
}

const sources = new Set(files.filter((file) => /^packages\/[\w-]+\/src\//.test(file)).flatMap(tails));
const allTails = new Set(files.flatMap(tails));
for (const [, name] of pages.get("CONTRIBUTING.md").prose.matchAll(/`([\w./-]+\/[\w.-]+\.ts|[\w-]+\.ts)`/g))
  if (!allTails.has(name)) problems.push(`CONTRIBUTING.md names ${name}, which does not exist.`);

const readmes = files.filter((file) => /^packages\/[\w-]+\/README\.md$/.test(file));
for (const page of [ARCHITECTURE, ...readmes]) {
  for (const [, name] of pages.get(page).prose.matchAll(/`([\w./-]+\.ts)`/g))
    if (!sources.has(name)) problems.push(`${page} names ${name}, which is no source of a package.`);
}

for (const [, file, name] of pages.get(RULES).prose.matchAll(/`([\w./-]+\.(?:ts|mjs))`(?: \(`(\w+)`\))?/g)) {
  if (!files.includes(file)) problems.push(`${RULES} names ${file}, which does not exist.`);
  else if (name !== undefined && !new RegExp(`\\b${name}\\b`).test(readFileSync(file, "utf8")))
    problems.push(`${RULES} names ${name} of ${file}, which does not contain it.`);
}

for (const page of EVIDENCE) {
  for (const [, file, title] of pages.get(page).prose.matchAll(/`([\w./-]+\.ts)`: "([^"]+)"/g)) {
    const [before, after] = files.includes(file) ? readFileSync(file, "utf8").split(title) : [];
    if (after === undefined) problems.push(`${page} names a test of ${file} that does not exist: ${title}`);
    else if (/^[^\n]*\n?[^\n]*rest\//.test(after) || before.includes("@module-tag rest/"))
      problems.push(`${page} names a test of the second tier as one of the first: ${title}`);
  }
}

/** The values of the constants that are written as a number, a product or a text, by name. */
const constants = new Map();
for (const file of files.filter((name) => /^packages\/[\w-]+\/src\/.*\.tsx?$/.test(name))) {
  const source = readFileSync(file, "utf8");
  for (const [, name, product, text] of source.matchAll(
    /^(?:export )?const ([A-Z][A-Z0-9_]*) = (?:([\d_ .*]+)|"([^"\n]*)");$/gm,
  )) {
    const value = text ?? product.split("*").reduce((total, factor) => total * factor.replaceAll("_", ""), 1);
    constants.set(name, [...(constants.get(name) ?? []), value]);
  }
}

/** A page that states a format or a limit writes `NAME` = 8 MiB, so that it cannot fall behind the source. */
const UNITS = { KiB: 1024, MiB: 1024 * 1024 };
for (const [file, { prose }] of pages) {
  for (const [stated, name, number, unit, text] of prose.matchAll(
    /`([A-Z][A-Z0-9_]*)` = (?:(\d+(?:,\d{3})*(?:\.\d+)?)(?: ([KM]iB))?|`([^`]+)`)/g,
  )) {
    const value = text ?? number.replaceAll(",", "") * (UNITS[unit] ?? 1);
    const values = constants.get(name) ?? [];
    if (!values.includes(value))
      problems.push(
        `${file} states ${stated}, but the sources have ${values.join(" and ") || "no such value"}.`,
      );
  }
}

/** Returns the page of docs/ that a source names without its folder. */
function pageNamed(name) {
  return [`docs/${name}`, `docs/internals/${name}`].find((file) => pages.has(file));
}

for (const file of files.filter((name) => /\.(?:tsx?|mjs|py|sh|clj|ya?ml|md)$/.test(name))) {
  for (const [name] of readFileSync(file, "utf8").matchAll(/\bdocs\/[\w/-]+\.md\b/g))
    if (!pages.has(name)) problems.push(`${file} names ${name}, which does not exist.`);
}
for (const file of files.filter((name) => /\.(?:ts|mjs|py|sh)$/.test(name))) {
  const source = readFileSync(file, "utf8");
  for (const [, name, anchor] of source.matchAll(/\b([\w-]+\.md)#([\w-]+)/g)) {
    const page = pageNamed(name);
    if (pages.get(page)?.anchors.includes(anchor) === false)
      problems.push(`${file} names ${page}#${anchor}, which has no such heading.`);
  }
  for (const [, name, heading] of source.matchAll(/\b([\w-]+\.md)`?, "([^"\n]+)"/g)) {
    const page = pageNamed(name);
    if (pages.get(page)?.headings.includes(heading) === false)
      problems.push(`${file} names "${heading}" of ${page}, which has no such heading.`);
  }
}
problems.push(...readFragments("changelog/unreleased").flatMap((change) => fragmentProblem(change) ?? []));

for (const problem of problems) console.error(problem);
process.exitCode = problems.length === 0 ? 0 : 1;
