// Puts the modules of each package together, into dist/bundle/: a process loads a handful of files instead of some three hundred, which
// takes two thirds of the time. Other packages stay what they are, also Cairn's own: each class is there once, whoever imports it.
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";

/** What is loaded from outside: what `exports` and `bin` name, and the threads, which lie beside the module that starts them. */
const ENTRIES = {
  client: ["index", "streams"],
  kv: ["index", "tables", "threads", "tables/check-worker"],
  checkpoint: ["index", "archive/pack/pack-worker", "archive/unpack/unpack-worker"],
  node: ["index", "cli/main"],
};

/** A thread's module lies beside all others, whichever room its source is in. */
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
    // All that is not a path is a package's name, or Node's.
    external: /^[^./]/,
  });
  const { output } = await build.generate({
    dir: at("dist/bundle"),
    sourcemap: true,
    // In one folder with the threads' modules.
    chunkFileNames: "[name]-[hash].js",
  });
  await build.close();
  // What an entry imports first: nobody looks for it before the entry is there.
  const inOrder = output.toSorted(
    (one, other) => Number(one.isEntry ?? false) - Number(other.isEntry ?? false),
  );
  const files = new Map(inOrder.map((file) => [file.fileName, file.code ?? file.source]));
  await write(at("dist/bundle"), files);
  if (clean) await removeOthers(at("dist/bundle"), files);
}

/**
 * Writes `files` into `dir`, in their order. Processes may be running from it, or begin meanwhile: what is the same stays, none is ever
 * half there, and those of builds before stay, which a running process may load yet.
 */
async function write(dir, files) {
  for (const [name, content] of files) {
    const path = join(dir, name);
    const before = await readFile(path, "utf8").catch(() => undefined);
    if (before === content) continue;
    await mkdir(dirname(path), { recursive: true });
    // Outside of what is packed, should this end here.
    const unfinished = join(dirname(dir), `.bundle-${process.pid}`);
    await writeFile(unfinished, content);
    await rename(unfinished, path);
  }
}

/** Removes what builds before left. */
async function removeOthers(dir, files) {
  for (const entry of await readdir(dir, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isFile() && !files.has(relative(dir, path))) await rm(path);
  }
}

// `--clean NAME`: that package alone, and nothing but this build, as it is to be packed.
const [option, only] = process.argv.slice(2);
const names = option === "--clean" ? [only] : Object.keys(ENTRIES);
// One after the other, those first that others import.
for (const name of names) await bundle(name, ENTRIES[name], option === "--clean");
