// Builds the pages of docs/ as a site in site/dist, and checks it: every link must lead to a page of it, and to a heading
// if it names one, and no page may load anything from another host. Prints each problem, and exits with 1 if there are
// any. `--base /cairn/` builds the site for a folder of a host.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, posix } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { build } from "vitepress";

const { base } = parseArgs({ options: { base: { type: "string", default: "/" } } }).values;
const folder = fileURLToPath(new URL("dist/", import.meta.url));
await build(fileURLToPath(new URL(".", import.meta.url)), { base });

const files = readdirSync(folder, { recursive: true });
const pages = new Map(files.filter((file) => file.endsWith(".html")).map((file) => [file, readPage(file)]));
const problems = [];

/** Returns the ids of a page, and its attributes that name an address, each with its element. */
function readPage(file) {
  const html = readFileSync(join(folder, file), "utf8");
  const ids = new Set([...html.matchAll(/ id="([^"]*)"/g)].map(([, id]) => unescaped(id)));
  const elements = [...html.matchAll(/<([a-z]+)((?: [\w:-]+(?:="[^"]*")?)*)/g)];
  const addresses = elements.flatMap(([, element, attributes]) =>
    [...attributes.matchAll(/ (?:href|src)="([^"]*)"/g)].map(([, address]) => ({
      element,
      address: unescaped(address),
    })),
  );
  return { ids, addresses };
}

function unescaped(text) {
  return text
    .replaceAll("&quot;", '"')
    .replaceAll("&lt;", "<")
    .replaceAll("&gt;", ">")
    .replaceAll("&amp;", "&");
}

for (const [file, { addresses }] of pages) {
  for (const { element, address } of addresses) {
    if (/^(?:[a-z]+:)?\/\//.test(address)) {
      if (element !== "a") problems.push(`${file} loads ${address} from another host.`);
      continue;
    }
    if (/^(?:data|mailto):/.test(address)) continue;
    const url = new URL(address, `http://site${base}${file}`);
    const path = decodeURIComponent(url.pathname);
    const target = path.endsWith("/") ? `${path}index.html` : path;
    const name = posix.relative(base, target);
    if (!target.startsWith(base) || !existsSync(join(folder, name)))
      problems.push(`${file} links to ${address}, which does not exist.`);
    else if (url.hash !== "" && pages.get(name)?.ids.has(decodeURIComponent(url.hash.slice(1))) === false)
      problems.push(`${file} links to ${address}, but ${name} has no such heading.`);
  }
}
for (const file of files.filter((name) => name.endsWith(".css"))) {
  const style = readFileSync(join(folder, file), "utf8");
  for (const [, address] of style.matchAll(/(?:url\(|@import )["']?((?:[a-z]+:)?\/\/[^"')]*)/g))
    problems.push(`${file} loads ${address} from another host.`);
}
if (pages.size < 2) problems.push("The site has no pages.");
for (const problem of problems) console.error(problem);
console.log(`${pages.size} pages in ${folder}, ${problems.length} problems`);
process.exitCode = problems.length === 0 ? 0 : 1;
