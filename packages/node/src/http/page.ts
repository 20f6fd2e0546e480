import { readdir, readFile } from "node:fs/promises";
import { CairnError } from "@cairn/kv";
import { TIMED_OUT, withTimeout } from "../concurrency/time-limit.ts";
import { type Route, route } from "./openapi/route.ts";
import type { RouteApi } from "./permits/call.ts";

interface PageFiles {
  /** The document, with {@link SENTENCE} in the place of its first sentence. */
  readonly shell: string;
  readonly assets: ReadonlyMap<string, { readonly type: string; readonly content: string }>;
}

const SHELL = "index.html";
const SENTENCE = "<!-- sentence -->";
const TYPES: Readonly<Record<string, string>> = {
  js: "text/javascript; charset=utf-8",
  css: "text/css; charset=utf-8",
  txt: "text/plain; charset=utf-8",
};

/** The build puts the page next to the modules of the node. Tests run from the sources. */
const PLACES = ["./page/", "../../dist/bundle/page/"];

/** The time within which the page is sent. After that, it is sent without a sentence about the cluster. */
const SENTENCE_MS = 300;

const HEADERS = {
  // Scripts and styles come only from files of the node, and the page connects only to the node.
  "content-security-policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
};

let reading: Promise<PageFiles> | undefined;

/** A failed read, for example for want of open files, is repeated. */
async function pageFiles(): Promise<PageFiles> {
  reading ??= readPage();
  try {
    return await reading;
  } catch (error) {
    reading = undefined;
    throw error;
  }
}

const PAGE = { method: "GET", right: "none", concerns: "none" } as const;

/**
 * The page at `/` and its files below `/page/`. These addresses require no token, because the page asks for it. If the
 * node requires none, the page contains the first sentence about the node even before its script runs.
 */
export const pageRoutes: readonly Route[] = [
  route({
    ...PAGE,
    path: "/",
    async handle({ api, served }) {
      const { shell } = await pageFiles();
      const sentence = served.requiresToken
        ? "This node requires a token, which this page asks for."
        : await firstSentence(api);
      return {
        headers: { ...HEADERS, "cache-control": "no-store" },
        type: "text/html; charset=utf-8",
        body: shell.replace(SENTENCE, () => escapeHtml(sentence)),
      };
    },
  }),
  route({
    ...PAGE,
    path: "/page/{file}",
    async handle({ params: { file = "" } }) {
      const asset = (await pageFiles()).assets.get(file);
      if (asset === undefined) {
        throw new CairnError("NOT_FOUND", `The page has no file ${JSON.stringify(file)}.`, {
          hint: "Open the page again at /: a file of another version of Cairn has another name.",
        });
      }
      // The name of a file contains a digest of its content.
      const headers = { ...HEADERS, "cache-control": "public, max-age=31536000, immutable" };
      return { headers, type: asset.type, body: asset.content };
    },
  }),
];

async function readPage(): Promise<PageFiles> {
  for (const place of PLACES) {
    const folder = new URL(place, import.meta.url);
    const names = await readdir(folder).catch((): string[] => []);
    if (!names.includes(SHELL)) continue;
    const assets = new Map<string, { type: string; content: string }>();
    for (const name of names) {
      const type = TYPES[name.split(".").at(-1) ?? ""];
      if (type !== undefined)
        assets.set(name, { type, content: await readFile(new URL(name, folder), "utf8") });
    }
    return { shell: await readFile(new URL(SHELL, folder), "utf8"), assets };
  }
  throw new CairnError("NOT_FOUND", "This build of Cairn does not contain the page.", {
    hint: "In a checkout, run npx -y pnpm@12 run build, which builds it, and start the node again.",
  });
}

/** Returns the verdict on the cluster if it is known soon enough, or else the phase of this node. */
async function firstSentence(api: RouteApi): Promise<string> {
  try {
    const cluster = await withTimeout(api.cluster(), SENTENCE_MS);
    if (cluster !== TIMED_OUT) return cluster.verdict.message;
  } catch {
    // The phase is always known.
  }
  return `${api.id} is ${api.phase}.`;
}

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

function escapeHtml(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => ENTITIES[character] ?? "");
}
