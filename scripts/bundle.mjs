// Bundles the modules of each package into dist/bundle/: loading a few files instead of some three hundred takes two thirds of the time.
// Other packages, including Cairn's own, stay external, so that each class exists once. The exceptions are BUNDLED.
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";
import { minVersion, satisfies } from "semver";
import { PACKAGES } from "./published-packages.mjs";

/** The entry points in src: the files named by `exports` and `bin`, and the modules of threads. */
async function entriesOf(name) {
  const { exports = {}, bin = {} } = JSON.parse(
    await readFile(join(ROOT, "packages", name, "package.json"), "utf8"),
  );
  const paths = [...Object.values(exports).map((entry) => entry["cairn-source"]), ...Object.values(bin)];
  const files = await readdir(join(ROOT, "packages", name, "src"), { recursive: true });
  return [
    ...paths.flatMap((path) => /^\.\/(?:src|dist\/bundle)\/([^*]+)\.[jt]s$/.exec(path ?? "")?.[1] ?? []),
    ...files.flatMap((file) => /^(.*-worker)\.ts$/.exec(file)?.[1] ?? []),
  ];
}

/**
 * Libraries of which the bundles contain what they use. Of zod, nats and jsonc-parser, that is a few files, which load in
 * 45 ms, instead of 170, which take 130 ms; the first two stay dependencies for their types. Of tar and its five dependencies, only the
 * codec of headers is used; of prom-client, nothing that needs its dependencies, which take 3 MB; and a dependency of
 * pino-pretty asks for a newer Node than Cairn does, but only for its command.
 */
const BUNDLED = new Set(["jsonc-parser", "nats", "pino-pretty", "prom-client", "tar/header", "zod"]);
/** They have a file of their own, without a map, since the sources to which one would lead are not in the package. */
const LIBRARIES = "libraries";
const IS_LIBRARY = /[\\/]node_modules[\\/]/;
const LICENSES = "licenses.txt";

/** Threads' modules are in the same folder as all others, whichever room their source is in. */
const nameOf = (entry) => (entry.endsWith("-worker") ? basename(entry) : entry);

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const PAGE = join(ROOT, "packages/page");
const FLOOR = minVersion(JSON.parse(await readFile(join(ROOT, "package.json"), "utf8")).engines.node);

async function bundle(name, clean) {
  const entries = await entriesOf(name);
  const at = (path) => join(ROOT, "packages", name, path);
  const build = await rolldown({
    cwd: at("."),
    input: {
      ...Object.fromEntries(entries.map((entry) => [nameOf(entry), at(`src/${entry}.ts`)])),
      ...(existsSync(at("testing/index.ts")) ? { "testing/index": at("testing/index.ts") } : {}),
    },
    platform: "node",
    // jsonc-parser's main module is one that cannot be bundled.
    resolve: { mainFields: ["module", "main"] },
    // A specifier that is not a path names a package or a module of Node.
    external: (id, importer) => /^[^./]/.test(id) && !BUNDLED.has(id) && !IS_LIBRARY.test(importer ?? ""),
  });
  const { output } = await build.generate({
    dir: at("dist/bundle"),
    sourcemap: true,
    // They are in the package.
    sourcemapExcludeSources: true,
    // The other files are in the same folder as the threads' modules.
    chunkFileNames: "[name]-[hash].js",
    codeSplitting: { groups: [{ name: LIBRARIES, test: IS_LIBRARY }] },
  });
  await build.close();
  // Entries are written last, so that everything they import exists by then.
  const inOrder = output.toSorted(
    (one, other) => Number(one.isEntry ?? false) - Number(other.isEntry ?? false),
  );
  const page = name === "http" ? await bundlePage() : { files: [], licenses: [] };
  const libraries = await licensesOf(output.flatMap(({ moduleIds = [] }) => moduleIds));
  const licenses = new Map([...libraries, ...page.licenses]);
  const files = new Map([
    ...(licenses.size === 0 ? [] : [[LICENSES, licenseText(licenses)]]),
    ...inOrder.flatMap((file) => contentOf(file)),
  ]);
  for (const [file, content] of page.files) files.set(join("page", file), content);
  await write(at("dist/bundle"), files);
  if (clean) await removeOthers(at("dist/bundle"), files);
}

function contentOf({ fileName, code, source }) {
  if (!fileName.startsWith(`${LIBRARIES}-`)) return [[fileName, code ?? source]];
  return code === undefined ? [] : [[fileName, code.replace(/^\/\/# sourceMappingURL=.*$/m, "")]];
}

/**
 * Returns the files of the page, and the licenses of the packages that its script contains. Except for the document,
 * the name of each file contains a digest of its content, so that browsers may keep it forever.
 */
async function bundlePage() {
  const build = await rolldown({
    cwd: PAGE,
    input: { page: join(PAGE, "src/main.tsx") },
    platform: "browser",
    resolve: { conditionNames: ["cairn-source", "browser", "import", "default"] },
  });
  const { output } = await build.generate({ codeSplitting: false, minify: true });
  await build.close();
  const [{ code, moduleIds }] = output;
  const style = await readFile(join(PAGE, "src/style.css"), "utf8");
  const files = [
    [named(code, "js"), code],
    [named(style, "css"), style],
  ];
  const document = files.reduce(
    (text, [file]) => text.replace(`page.${file.split(".").at(-1)}`, `page/${file}`),
    await readFile(join(PAGE, "src/index.html"), "utf8"),
  );
  return { files: [...files, ["index.html", document]], licenses: await licensesOf(moduleIds) };
}

/** Returns a name that contains a digest of the content. */
function named(content, ending) {
  return `page-${createHash("sha256").update(content).digest("hex").slice(0, 12)}.${ending}`;
}

/** Returns the licenses of the packages that the modules with these paths belong to. */
async function licensesOf(moduleIds) {
  const folders = new Set(
    moduleIds.flatMap((id) => /^.*\/node_modules\/(?:@[^/]+\/)?[^/]+/.exec(id)?.[0] ?? []),
  );
  return await Promise.all([...folders].map(licenseOf));
}

async function licenseOf(folder) {
  const { name, version, license, engines } = JSON.parse(
    await readFile(join(folder, "package.json"), "utf8"),
  );
  if (engines?.node !== undefined && !satisfies(FLOOR, engines.node)) {
    throw new Error(`${name} ${version} asks for Node ${engines.node}, but Cairn runs on ${FLOOR}.`);
  }
  const file = (await readdir(folder)).find((entry) => /^licen[cs]e/i.test(entry));
  const text = file === undefined ? `License: ${license}` : await readFile(join(folder, file), "utf8");
  return [`${name} ${version}`, text.trim()];
}

function licenseText(licenses) {
  const sections = [...licenses].toSorted().map(([name, text]) => `${name}\n\n${text}\n`);
  return ["This folder contains the following packages.\n", ...sections].join(`\n${"-".repeat(80)}\n\n`);
}

/**
 * Writes `files` into `dir`, in their order. Processes may be running from it: unchanged files are not touched, files
 * are replaced atomically, and files of earlier builds are kept, since a running process may still load them.
 */
async function write(dir, files) {
  for (const [name, content] of files) {
    const path = join(dir, name);
    const before = await readFile(path, "utf8").catch(() => undefined);
    if (before === content) continue;
    await mkdir(dirname(path), { recursive: true });
    // This file is outside the packed folder, in case the build is interrupted here.
    const unfinished = join(dirname(dir), `.bundle-${process.pid}`);
    await writeFile(unfinished, content);
    await rename(unfinished, path);
  }
}

/** Removes files of earlier builds. */
async function removeOthers(dir, files) {
  for (const entry of await readdir(dir, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isFile() && !files.has(relative(dir, path))) await rm(path);
  }
}

// `--clean NAME` bundles that package only and removes files of earlier builds, for packing.
const [option, only] = process.argv.slice(2);
const names = option === "--clean" ? [only] : PACKAGES;
// The packages are bundled one after another, beginning with those that others import.
for (const name of names) await bundle(name, option === "--clean");
