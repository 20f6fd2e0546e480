// Bundles the modules of each package into dist/bundle/: loading a few files instead of some three hundred takes two thirds of the time.
// Other packages, including Cairn's own, stay external, so that each class exists once.
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";

/** The entry points: the files named by `exports` and `bin`, and the modules of threads. */
const ENTRIES = {
  client: ["index", "protocol"],
  kv: ["index", "tables", "threads", "tables/check-worker"],
  checkpoint: ["index", "archive/pack/pack-worker", "archive/unpack/unpack-worker"],
  node: ["index", "cli/main"],
};

/** Threads' modules are in the same folder as all others, whichever room their source is in. */
const nameOf = (entry) => (entry.endsWith("-worker") ? basename(entry) : entry);

async function bundle(name, entries, clean) {
  const at = (path) => fileURLToPath(new URL(`../packages/${name}/${path}`, import.meta.url));
  const build = await rolldown({
    cwd: at("."),
    input: {
      ...Object.fromEntries(entries.map((entry) => [nameOf(entry), at(`src/${entry}.ts`)])),
      ...(existsSync(at("testing/index.ts")) ? { "testing/index": at("testing/index.ts") } : {}),
    },
    platform: "node",
    // A specifier that is not a path names a package or a module of Node.
    external: /^[^./]/,
  });
  const { output } = await build.generate({
    dir: at("dist/bundle"),
    sourcemap: true,
    // In the same folder as the threads' modules.
    chunkFileNames: "[name]-[hash].js",
  });
  await build.close();
  // Entries are written last, so that everything they import exists by then.
  const inOrder = output.toSorted(
    (one, other) => Number(one.isEntry ?? false) - Number(other.isEntry ?? false),
  );
  const files = new Map(inOrder.map((file) => [file.fileName, file.code ?? file.source]));
  await write(at("dist/bundle"), files);
  if (clean) await removeOthers(at("dist/bundle"), files);
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
    // Outside the packed folder, in case the build is interrupted here.
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
const names = option === "--clean" ? [only] : Object.keys(ENTRIES);
// In sequence, beginning with the packages that others import.
for (const name of names) await bundle(name, ENTRIES[name], option === "--clean");
