import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { CairnError, missingFile, SharedResults } from "@cairn/kv";
import type { HttpAnswer } from "./answers/answer.ts";
import { type Route, route } from "./openapi/route.ts";

const TYPES: Readonly<Record<string, string>> = {
  html: "text/html; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  css: "text/css; charset=utf-8",
  txt: "text/plain; charset=utf-8",
};

/** The build puts the page next to the modules of the node. Tests run from the sources, as TypeScript or compiled. */
const PLACES = ["./page/", "../dist/bundle/page/", "../bundle/page/"];

const SHELL = "index.html";

const HEADERS = {
  // Scripts and styles come only from files of the node, and the page connects only to the node.
  "content-security-policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
};

/** The files by name. A failed read, for example for want of open files, is repeated. */
const reading = new SharedResults<ReadonlyMap<string, string>>(Infinity);

async function answerWith(name: string): Promise<HttpAnswer> {
  const body = (await reading.get("", readPage)).get(name);
  if (body === undefined) {
    throw new CairnError(
      "NOT_FOUND",
      `The page has no file ${JSON.stringify(name)}.`,
      "Open the page again at /: a file of another version of Cairn has another name.",
    );
  }
  // The names of the other files contain a digest of their content.
  const caching = name === SHELL ? "no-store" : "public, max-age=31536000, immutable";
  return { headers: { ...HEADERS, "cache-control": caching }, type: typeOf(name) ?? "", body };
}

function typeOf(name: string): string | undefined {
  return TYPES[name.split(".").at(-1) ?? ""];
}

const PAGE = { method: "GET", right: "none", concerns: "none" } as const;

/** The page at `/` and its files. They contain no data, so they require no token: the page asks for it. */
export const pageRoutes: readonly Route[] = [
  route({ ...PAGE, path: "/", handle: () => answerWith(SHELL) }),
  route({ ...PAGE, path: "/page/{file}", handle: ({ params: { file = "" } }) => answerWith(file) }),
];

/** Throws `CONFIG_MODULE` if the page is missing. A checkout may be without it until it is built. */
export function requirePage(): void {
  if (!import.meta.url.endsWith(".ts")) pageFolder();
}

function pageFolder(): URL {
  const [built, ...others] = PLACES.map((place) => new URL(place, import.meta.url));
  const folder = [built, ...others].find((place) => existsSync(new URL(SHELL, place)));
  if (folder === undefined) throw missingFile(fileURLToPath(new URL(SHELL, built)));
  return folder;
}

async function readPage(): Promise<ReadonlyMap<string, string>> {
  const folder = pageFolder();
  const files = new Map<string, string>();
  for (const name of await readdir(folder))
    if (typeOf(name) !== undefined) files.set(name, await readFile(new URL(name, folder), "utf8"));
  return files;
}
