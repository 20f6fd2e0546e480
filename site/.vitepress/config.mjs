import { readdirSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitepress";
import { headingAnchor } from "../../scripts/heading-anchor.mjs";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const REPOSITORY = "https://github.com/cairn-index/cairn";
const INDEX = "docs/README.md";
/** The generator puts small scripts, styles and pictures into the pages. */
const POLICY = "default-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:";

/** A row of a table of docs/README.md whose first cell links to a page or a folder. */
const ENTRY = /^\| \[([^\]]+)\]\(([^)#]+)\) \|/;

/** The parts of the documentation, with their pages as paths in the repository: docs/README.md lists them. */
const parts = readParts();
/** Where each page is on the site. */
const places = new Map([
  [INDEX, "index.md"],
  ...parts.flatMap(({ pages }) => pages.map(({ file }) => [file, placeOf(file)])),
  ...linkedPages("docs/internals/decisions/README.md").map(({ file }) => [file, placeOf(file)]),
]);

for (const [file, place] of places) {
  for (const [other, taken] of places)
    if (other !== file && taken === place)
      throw new Error(`${file} and ${other} are both ${place} on the site.`);
}

function readParts() {
  const [, ...sections] = readFileSync(path.join(ROOT, INDEX), "utf8").split(/^##+ /m);
  return sections
    .map((section) => ({
      title: section.slice(0, section.indexOf("\n")),
      pages: linkedPages(INDEX, section),
    }))
    .filter(({ pages }) => pages.length > 0);
}

/** Returns the pages to which the first cells of a page's tables link. */
function linkedPages(page, text = readFileSync(path.join(ROOT, page), "utf8")) {
  return text.split("\n").flatMap((line) => {
    const [, title, link] = ENTRY.exec(line) ?? [];
    return title === undefined || link === undefined ? [] : [{ title, file: resolved(page, link) }];
  });
}

function resolved(page, link) {
  return path.posix.join(path.posix.dirname(page), link);
}

/** Returns where a page is on the site, whose root is docs/: outside of it, a README stands for its folder. */
function placeOf(file) {
  if (file === "README.md") return "overview.md";
  if (file === "SECURITY.md") return "reporting-vulnerabilities.md";
  if (!file.startsWith("docs/")) return file.replace(/\/README\.md$/, ".md").toLowerCase();
  return file.slice("docs/".length).replace(/\/README\.md$/, "/index.md");
}

/** Returns the address of a page on the site, as the navigation needs it. */
function addressOf(file) {
  return `/${(places.get(file) ?? "").replace(/(^|\/)index\.md$/, "$1").replace(/\.md$/, "")}`;
}

/**
 * Returns a link of a page as it is on the site. The pages link to files, so that their links work in a checkout as
 * well; files that are not on the site are in the repository.
 */
function linkOnSite(page, link) {
  if (/^[a-z]+:/.test(link) || link.startsWith("#")) return link;
  const [file = "", anchor] = link.split("#");
  const target = resolved(page, file);
  const isFolder = statSync(path.join(ROOT, target)).isDirectory();
  const place = places.get(isFolder ? `${target}/README.md` : target);
  const address =
    place === undefined ? `${REPOSITORY}/${isFolder ? "tree" : "blob"}/main/${target}` : `/${place}`;
  return anchor === undefined ? address : `${address}#${anchor}`;
}

/** Replaces the links of all pages with those of the site. */
function linkToSite(markdown) {
  markdown.core.ruler.push("links-on-site", (state) => {
    const page = path.posix.relative(ROOT, state.env.realPath ?? state.env.path);
    for (const token of state.tokens.flatMap(({ children }) => children ?? [])) {
      const link = token.type === "link_open" ? token.attrGet("href") : null;
      if (link !== null) token.attrSet("href", linkOnSite(page, link));
    }
  });
}

/** Returns the entry of a page in the navigation, with the pages below it. */
function sidebarOf(page) {
  const inside = page.file.endsWith("/decisions/README.md") ? linkedPages(page.file) : [];
  const item = { text: page.title, link: addressOf(page.file) };
  return inside.length === 0 ? item : { ...item, collapsed: true, items: inside.map(sidebarOf) };
}

/** Returns the folders of the repository that the search for pages need not enter. */
function foldersWithoutPages() {
  const withPages = new Set([...places.keys()].map((file) => file.split("/")[0]));
  const folders = readdirSync(ROOT, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  return folders.map(({ name }) => name).filter((name) => !withPages.has(name));
}

export default defineConfig({
  title: "Cairn",
  description: "A checkpointing index store for clusters",
  lang: "en",
  // A browser refuses requests to other hosts.
  head: [["meta", { "http-equiv": "Content-Security-Policy", content: POLICY }]],
  srcDir: ROOT,
  outDir: path.join(ROOT, "site/dist"),
  cacheDir: path.join(ROOT, "site/node_modules/.vitepress"),
  srcExclude: foldersWithoutPages().map((name) => `${name}/**`),
  rewrites: Object.fromEntries(places),
  markdown: {
    // Names of files are no links, and text in angle brackets is no HTML.
    linkify: false,
    html: false,
    languageAlias: { edn: "clojure" },
    anchor: { slugify: headingAnchor },
    config: linkToSite,
  },
  themeConfig: {
    nav: parts.map(({ title, pages }) => ({ text: title, link: addressOf(pages[0]?.file ?? INDEX) })),
    sidebar: parts.map(({ title, pages }) => ({ text: title, items: pages.map(sidebarOf) })),
    outline: [2, 3],
    search: { provider: "local" },
  },
});
